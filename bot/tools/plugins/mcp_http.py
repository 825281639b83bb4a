"""HTTP client for MCP servers with bounded responses.

The client library holds each response in memory and reads on after the caller has given up. Compression is
refused, because a small body could become a huge one.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx

MOST_BYTES = 16 << 20
"""Largest response, or largest event of a stream."""


def bounded_client(
    headers: dict[str, str] | None = None,
    timeout: httpx.Timeout | None = None,
    auth: httpx.Auth | None = None,
) -> httpx.AsyncClient:
    """Return a client with bounded responses (a `mcp.shared._httpx_utils.McpHttpClientFactory`)."""
    return httpx.AsyncClient(
        headers={"Accept-Encoding": "identity", **(headers or {})},
        timeout=timeout,
        auth=auth,
        event_hooks={"response": [_bound]},
    )


async def _bound(response: httpx.Response) -> None:
    """Limit the body before any of it is read."""
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise httpx.DecodingError("the answer is compressed, which was not asked for")
    is_stream = response.headers.get("Content-Type", "").lower().startswith("text/event-stream")
    response.stream = _Bounded(response.stream, is_stream=is_stream)


class _Bounded(httpx.AsyncByteStream):
    """Response stream of at most `MOST_BYTES` bytes, or as many for each event."""

    def __init__(self, source: Any, *, is_stream: bool) -> None:
        self._source = source
        self._is_stream = is_stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, last = 0, b""
        async for chunk in self._source:
            if self._is_stream and _ends_an_event(last + chunk):
                size = 0
            size, last = size + len(chunk), chunk[-3:]
            if size > MOST_BYTES:
                raise httpx.ReadError("the answer is too long")
            yield chunk

    async def aclose(self) -> None:
        """Close the source, which releases the connection."""
        await self._source.aclose()


def _ends_an_event(text: bytes) -> bool:
    return any(end in text for end in (b"\n\n", b"\r\r", b"\r\n\r\n"))
