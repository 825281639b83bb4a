"""Embeddings by an OpenAI-compatible service: `POST /embeddings`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import httpx2
import openai
from pydantic import SecretStr

from bot.memory.embeddings import (
    MAX_CHARS,
    EmbeddingFailed,
    Vector,
    usable,
)

_MOST_SECONDS = 10.0
"""Longest wait: after this a search goes on without vectors."""

_MOST_BYTES = 32 << 20
"""Largest response, which the SDK holds in memory."""


class OpenAIEmbeddings:
    """`Embeddings` by a service; the SDK retries once (408, 409, 429, 5xx, no connection)."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, seconds: float) -> None:
        self.model = model
        self._client = client
        self._seconds = seconds

    async def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        """Return a vector of length 1 for each text. Raises `EmbeddingFailed`."""
        cut = [text[:MAX_CHARS].encode("utf-8", "replace").decode() or " " for text in texts]
        try:
            # the SDK's time limit is for each piece of the response
            async with asyncio.timeout(2 * self._seconds):
                # as floats: the SDK's default is base64, which not every compatible service supports
                answer = await self._client.embeddings.create(
                    input=cut, model=self.model, encoding_format="float"
                )
            found = sorted(answer.data, key=lambda each: each.index)
            # the SDK checks nothing: services send texts (base64) and null instead of numbers
            vectors = [usable(each.embedding) for each in found]
        except (
            openai.OpenAIError,
            httpx2.HTTPError,
            TimeoutError,
            RecursionError,
            OverflowError,
            ValueError,
            TypeError,
            AttributeError,
        ) as error:
            raise EmbeddingFailed(f"{type(error).__name__}: {str(error)[:200]}") from error
        if len(vectors) != len(cut):
            raise EmbeddingFailed(f"asked for {len(cut)} vectors, got {len(vectors)}")
        return vectors


@asynccontextmanager
async def open_embeddings(
    *,
    name: str,
    api_key: SecretStr | None,
    base_url: str | None,
    timeout: float,
    most_bytes: int = _MOST_BYTES,
) -> AsyncIterator[OpenAIEmbeddings]:
    """Open embeddings by the model `name`; `timeout` is in seconds, and at most what a search can wait.

    A response has at most `most_bytes`.
    """
    seconds = min(timeout, _MOST_SECONDS)
    async with openai.DefaultAsyncHttpxClient(
        timeout=seconds,
        headers={"Accept-Encoding": "identity"},
        event_hooks={"response": [partial(_limit_body, most_bytes)]},
    ) as http:
        sdk = openai.AsyncOpenAI(
            api_key=(api_key or SecretStr("none")).get_secret_value(),
            base_url=base_url,
            timeout=seconds,
            max_retries=1,
            http_client=http,
        )
        yield OpenAIEmbeddings(sdk, name, seconds)


async def _limit_body(most_bytes: int, response: httpx2.Response) -> None:
    """Limit the body before any of it is read, and refuse compression: a small body could become huge."""
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise httpx2.DecodingError("the response is compressed, which was not requested")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _LimitedStream(response.stream, most_bytes)


class _LimitedStream(httpx2.AsyncByteStream):
    """Response stream of at most `most_bytes` bytes."""

    def __init__(self, source: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._source = source
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._source:
            size += len(chunk)
            if size > self._most_bytes:
                raise httpx2.ReadError("the response is too long")
            yield chunk

    async def aclose(self) -> None:
        """Close the source, which releases the connection."""
        await self._source.aclose()
