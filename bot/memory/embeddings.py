"""Texts as vectors whose angle tells how near they are in meaning."""

import asyncio
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

Vector = tuple[float, ...]

MAX_CHARS = 8_000
"""What of a text is embedded: services refuse more than about 8,000 tokens."""

_OFFLINE_CHARS = 1_000
"""The same offline, where the time grows with the length: 1,000 characters take 1 ms."""


class EmbeddingFailed(Exception):
    """There are no vectors to be had now; search goes on by words."""


class Embeddings(Protocol):
    """Makes vectors of texts."""

    @property
    def model(self) -> str:
        """The model's name: vectors of different models cannot be compared."""

    async def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        """A vector of length 1 for each text; None for one that the model has nothing to say of.

        Raises `EmbeddingFailed`.
        """


class _WordLlama(Protocol):
    def embed(self, texts: Sequence[str], norm: bool) -> Any:
        """An array of numpy's, a row for each text."""


class OfflineEmbeddings:
    """wordllama, whose weights (256 dimensions) are in its wheel: no network, 0.03 ms for a short text."""

    model = "wordllama"

    def __init__(self) -> None:
        self._loading: asyncio.Future[_WordLlama] | None = None

    async def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        """See `Embeddings.embed`."""
        if self._loading is None:  # takes a second, and half of it is the import: only for who searches
            self._loading = asyncio.ensure_future(asyncio.to_thread(_load))
        try:
            model = await asyncio.shield(self._loading)
        except (ImportError, OSError, ValueError) as error:  # its wheel is not whole
            raise EmbeddingFailed(f"wordllama cannot be loaded: {error!r}") from error
        return await asyncio.to_thread(_embedded, model, [text[:_OFFLINE_CHARS] for text in texts])


@cache
def _load() -> _WordLlama:
    import wordllama  # type: ignore[import-untyped]  # it has no types

    # plain load() looks for the weights elsewhere, and downloads them
    loaded: _WordLlama = wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )
    return loaded


def _embedded(model: _WordLlama, texts: Sequence[str]) -> list[Vector | None]:
    encodable = [text.encode("utf-8", "replace").decode() for text in texts]
    # not norm=True: it divides by zero for a text without known words
    return [usable(vector) for vector in model.embed(encodable, norm=False).tolist()]


def usable(vector: Sequence[float]) -> Vector | None:
    """The vector, at length 1; None when it has no direction."""
    length = sum(each * each for each in vector) ** 0.5
    if not 0 < length < float("inf"):  # NaN too is neither
        return None
    return tuple(each / length for each in vector)
