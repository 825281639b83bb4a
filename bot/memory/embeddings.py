"""Text embeddings: vectors whose cosine measures how close texts are in meaning."""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol

from bot.concurrency import heap

if TYPE_CHECKING:
    from bot.memory.wordllama import WordLlama

Vector = tuple[float, ...]

MAX_CHARS = 8_000
"""Characters of a text that are embedded: services refuse more than about 8,000 tokens."""

_OFFLINE_CHARS = 1_000
"""Offline limit, because the time grows with the length: 1,000 characters take 1 ms."""


class EmbeddingFailed(Exception):
    """Failure of an embedding model; search continues by words."""


class Embeddings(Protocol):
    """Embedding model."""

    @property
    def model(self) -> str:
        """Return the model's name: vectors of different models cannot be compared."""

    async def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        """Return a vector of length 1 for each text, or None for a text without a direction.

        Raises `EmbeddingFailed`.
        """


class OfflineEmbeddings:
    """Embeddings by wordllama, whose wheel holds the weights (256 dimensions): 0.03 ms for a short text."""

    model = "wordllama"

    def __init__(self) -> None:
        self._loading: asyncio.Future[WordLlama] | None = None

    async def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        """Return a vector of length 1 for each text. Raises `EmbeddingFailed`."""
        if self._loading is None:  # takes half a second and 35 MiB: only on demand
            self._loading = asyncio.ensure_future(asyncio.to_thread(_load))
        try:
            model = await asyncio.shield(self._loading)
        except (ImportError, OSError, ValueError) as error:  # the wheel is incomplete, or another one
            raise EmbeddingFailed(f"wordllama cannot be loaded: {error!r}") from error
        return await asyncio.to_thread(_embed, model, [text[:_OFFLINE_CHARS] for text in texts])


@cache
def _load() -> "WordLlama":
    from bot.memory.wordllama import WordLlama

    model = WordLlama()
    heap.trim()  # its vocabulary comes from JSON, which takes 6 MiB more
    return model


def _embed(model: "WordLlama", texts: Sequence[str]) -> list[Vector | None]:
    return [usable(model.embed(text.encode("utf-8", "replace").decode())) for text in texts]


def usable(vector: Sequence[float]) -> Vector | None:
    """Return the vector at length 1, or None if it has no direction."""
    length = sum(each * each for each in vector) ** 0.5
    if not 0 < length < float("inf"):  # also false for NaN
        return None
    return tuple(each / length for each in vector)
