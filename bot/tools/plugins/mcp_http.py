"""HTTP client for MCP servers with bounded responses.

The client library holds each response in memory and reads on after the caller has given up. Compression is
refused, because a small body could become a huge one.
"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx


def bounded_client(
    most_bytes: int,
    headers: dict[str, str] | None = None,
    timeout: httpx.Timeout | None = None,
    auth: httpx.Auth | None = None,
) -> httpx.AsyncClient:
    """Return a client that reads at most `most_bytes` of a response, or of each event of a stream.

    With `most_bytes` bound, it is a `mcp.shared._httpx_utils.McpHttpClientFactory`.
    """
    return httpx.AsyncClient(
        headers={"Accept-Encoding": "identity", **(headers or {})},
        timeout=timeout,
        auth=auth,
        event_hooks={"response": [partial(_limit_body, most_bytes)]},
    )


async def _limit_body(most_bytes: int, response: httpx.Response) -> None:
    """Limit the body before any of it is read."""
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise httpx.DecodingError("the answer is compressed, which was not asked for")
    is_stream = response.headers.get("Content-Type", "").lower().startswith("text/event-stream")
    response.stream = _LimitedStream(response.stream, most_bytes, is_stream=is_stream)


class _LimitedStream(httpx.AsyncByteStream):
    """Response stream of at most `most_bytes` bytes, or as many for each event."""

    def __init__(self, source: Any, most_bytes: int, *, is_stream: bool) -> None:
        self._source = source
        self._most_bytes = most_bytes
        self._is_stream = is_stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, last = 0, b""
        async for chunk in self._source:
            if self._is_stream and _ends_an_event(last + chunk):
                size = 0
            size, last = size + len(chunk), chunk[-3:]
            if size > self._most_bytes:
                raise httpx.ReadError("the answer is too long")
            yield chunk

    async def aclose(self) -> None:
        """Close the source, which releases the connection."""
        await self._source.aclose()


def _ends_an_event(text: bytes) -> bool:
    return any(end in text for end in (b"\n\n", b"\r\r", b"\r\n\r\n"))
