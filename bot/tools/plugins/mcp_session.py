"""Session with an MCP server, over a child's standard streams or streamable HTTP.

Workarounds for mcp 1.30:

- a child that dies ends a stream inside the client, which is reported only by the next call;
- an HTTP error of any request cancels the whole transport, and calls in other tasks are never woken;
- `call_tool` validates the result against the server's schema, and the validator fetches its references;
- its loggers write a traceback, with the text, for each line that is not a message;
- it holds a line of a child's output in memory, however long, and copies it for each received piece.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import httpx
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.streams.text import TextReceiveStream
from langchain_mcp_adapters.sessions import StreamableHttpConnection, create_session
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client import stdio
from mcp.client.stdio import stdio_client
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from bot import __version__
from bot.chat import Json, well_formed_json
from bot.concurrency.tasks import cancel
from bot.config.plugins import McpServer
from bot.tools.plugins.mcp_http import bounded_client
from bot.tools.plugins.source import ConnectionLost, PluginError, PluginLimits, SessionGone
from bot.tools.plugins.stderr import stderr_to_log

log = logging.getLogger(__name__)

logging.getLogger("mcp").setLevel(logging.CRITICAL)  # its errors also arrive as exceptions

LOOK_SECONDS = 60.0
"""Seconds between two requests of the list of tools, which also detect an unresponsive server."""

_CONNECT_SECONDS = 10.0
_MOST_PAGES = 20

_Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]


_most_line_bytes: ContextVar[int] = ContextVar("_most_line_bytes")
"""Limit for the child that is started in this context: the client makes the stream in a task of its own."""


class _BoundedLines(TextReceiveStream):
    """Output of a child with a limit for the length of a line."""

    _size = 0

    async def receive(self) -> str:
        text = await super().receive()
        _, is_end, rest = text.rpartition("\n")
        self._size = len(rest) if is_end else self._size + len(rest)
        if self._size > (most := _most_line_bytes.get()):
            log.warning("plug-in answer too long", extra={"most_bytes": most})
            raise anyio.ClosedResourceError  # ends the session, as if the child had ended
        return text


stdio.TextReceiveStream = _BoundedLines  # type: ignore[attr-defined] # the client has no setting for it


class Session:
    """Live session. Calls may come from any task and run concurrently."""

    def __init__(self, answer_seconds: float) -> None:
        self._answer_seconds = answer_seconds
        self.ended = asyncio.Event()
        self._gone = asyncio.Event()
        self._look = asyncio.Event()
        self._under_way = 0
        self._call_ended = asyncio.Event()
        self._client: ClientSession | None = None

    def begin(self, client: ClientSession) -> None:
        """Start to use an initialised client."""
        self._client = client

    async def handle_message(self, message: object) -> None:
        """Handle a notification of the server (`message_handler` of the client's session)."""
        if isinstance(message, types.ServerNotification) and isinstance(
            message.root, types.ToolListChangedNotification
        ):
            self._look.set()

    async def tools(self) -> list[tuple[str, str, Json]]:
        """Return name, description and schema of each tool. Raises `PluginError` and the client's errors."""
        self._look.clear()
        found: list[types.Tool] = []
        cursor: str | None = None
        try:
            async with asyncio.timeout(self._answer_seconds):
                for _ in range(_MOST_PAGES):
                    page = types.PaginatedRequestParams(cursor=cursor)
                    request = types.ClientRequest(types.ListToolsRequest(params=page))
                    result = await self._answer(request, types.ListToolsResult)
                    found += result.tools
                    cursor = result.nextCursor
                    if not cursor:
                        break
        except TimeoutError as error:
            raise PluginError(f"it did not answer within {self._answer_seconds:g} s") from error
        return [(each.name, each.description or each.title or "", each.inputSchema) for each in found]

    async def call(self, tool: str, arguments: dict[str, Json]) -> tuple[str, bool]:
        """Return the result as text, and True if the tool reports an error.

        Raises `PluginError` and `McpError`; `SessionGone` if a new session may make the same call.
        """
        request = types.ClientRequest(
            types.CallToolRequest(params=types.CallToolRequestParams(name=tool, arguments=arguments))
        )
        self._under_way += 1
        try:
            result = await self._answer(request, types.CallToolResult)
        except McpError as error:
            if error.error.code == types.CONNECTION_CLOSED:
                self._look.set()
                raise ConnectionLost(_LOST) from error
            # the server's own text, as for a failed tool
            return error.error.message, True
        except (Exception, asyncio.CancelledError):  # also after the caller's time limit
            self._look.set()
            raise
        finally:
            self._under_way -= 1
            self._call_ended.set()
        return _text(result), result.isError

    async def _answer(self, request: types.ClientRequest, kind: type[Any]) -> Any:
        """Return the server's answer. Raises `ConnectionLost` if the session ends before it."""
        assert self._client is not None  # set before the session is used
        asking = asyncio.create_task(self._client.send_request(request, kind))
        ending = asyncio.create_task(self.ended.wait())
        try:
            await asyncio.wait([asking, ending], return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise ConnectionLost(_LOST)
            return asking.result()
        except McpError as error:
            if not _is_gone(error):
                raise
            self._gone.set()
            raise SessionGone(_GONE) from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:  # nothing could be sent
            self._look.set()
            raise PluginError(_LOST) from error
        finally:
            await cancel(asking, ending)

    async def occasion_to_look(self) -> None:
        """Wait until the list of tools may have changed. Raises `PluginError` if the server is gone."""
        waits = [asyncio.create_task(each.wait()) for each in (self._look, self.ended, self._gone)]
        try:
            while True:
                done, _ = await asyncio.wait(waits, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if done or not self._under_way:  # a busy server may be unable to answer
                    break
        finally:
            await cancel(*waits)
        if self._gone.is_set():
            await self._let_calls_end()
            raise SessionGone(_GONE)
        if self.ended.is_set():
            raise PluginError("its process ended")

    async def _let_calls_end(self) -> None:
        """Give running calls time for their answers, which show whether they were executed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._answer_seconds):
                while self._under_way:
                    self._call_ended.clear()
                    await self._call_ended.wait()


_LOST = "the connection was lost"
_GONE = "it was restarted"
_GONE_CODE, _GONE_WORDS = 32600, "Session terminated"
"""Error of mcp.client.streamable_http for an HTTP server's 404 for the session."""


def _is_gone(error: McpError) -> bool:
    return (error.error.code, error.error.message) == (_GONE_CODE, _GONE_WORDS)


@asynccontextmanager
async def open_session(plugin: str, server: McpServer, limits: PluginLimits) -> AsyncIterator[Session]:
    """Open a session that is ready for calls. Raises any error of the client."""
    session = Session(limits.answer_seconds)
    try:
        async with _client(plugin, server, session, limits.most_bytes) as client:
            await client.initialize()
            session.begin(client)
            yield session
    finally:
        session.ended.set()


@asynccontextmanager
async def _client(
    plugin: str, server: McpServer, session: Session, most_bytes: int
) -> AsyncIterator[ClientSession]:
    own: dict[str, Any] = {
        "message_handler": session.handle_message,
        "client_info": types.Implementation(name="bot", version=__version__),
    }
    if server.url:
        connection = StreamableHttpConnection(
            transport="streamable_http",
            url=server.url,
            headers=dict(server.headers),
            timeout=_CONNECT_SECONDS,
            sse_read_timeout=server.policy.timeout + 60,
            httpx_client_factory=partial(bounded_client, most_bytes),
            session_kwargs=own,
        )
        async with create_session(connection) as client:
            yield client
        return
    # the child's environment is this and the library's safe list (PATH, HOME …), nothing else of the bot's
    child = StdioServerParameters(
        command=server.command,
        args=list(server.args),
        env=dict(server.env),
        encoding_error_handler="replace",
    )
    _most_line_bytes.set(most_bytes)
    async with (
        stderr_to_log(plugin) as sink,
        stdio_client(child, sink) as (read, write),
        _watch(read, session.ended) as watched,
        ClientSession(watched, write, **own) as client,
    ):
        sink.close()
        yield client


@asynccontextmanager
async def _watch(read: _Incoming, ended: asyncio.Event) -> AsyncIterator[_Incoming]:
    """Yield a copy of the stream, which sets `ended` at its end."""
    send, receive = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    copying = asyncio.create_task(_copy(read, send, ended))
    try:
        yield receive
    finally:
        await cancel(copying)
        receive.close()
        read.close()  # the client leaves it open if its child ends at once


async def _copy(
    read: _Incoming, send: MemoryObjectSendStream[SessionMessage | Exception], ended: asyncio.Event
) -> None:
    try:
        async with send:
            async for message in read:
                await send.send(_well_formed(message) if isinstance(message, ValidationError) else message)
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        pass  # the session is being closed
    finally:
        ended.set()


def _well_formed(error: ValidationError) -> SessionMessage | Exception:
    """Parse a message with lone surrogates, which pydantic refuses, again; else return the error."""
    try:
        data = well_formed_json(json.loads(error.errors()[0]["input"]))
        return SessionMessage(types.JSONRPCMessage.model_validate(data))
    except (TypeError, ValueError, RecursionError):
        return error


def _text(result: types.CallToolResult) -> str:
    texts = [_block(each) for each in result.content]
    if not any(texts) and result.structuredContent is not None:
        return json.dumps(result.structuredContent, ensure_ascii=False)
    return "\n".join(texts)


def _block(block: types.ContentBlock) -> str:
    """Return one block of a result: text as it is, other types by name."""
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent() | types.AudioContent():
            return f"[{block.type}, {block.mimeType}, about {len(block.data) * 3 // 4:,} bytes: not shown]"
        case types.ResourceLink():
            return f"[resource {block.name}: {block.uri}]"
        case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
            return resource.text
        case types.EmbeddedResource():
            return f"[resource {block.resource.uri}, {block.resource.mimeType}: not shown]"


def reason(error: BaseException) -> str:
    """Return why a server is unavailable, without its own text, which may contain a token."""
    match error:
        case BaseExceptionGroup():
            return reason(error.exceptions[0])
        case PluginError():
            return str(error)
        case FileNotFoundError():
            return "its command was not found"
        case PermissionError():
            return "its command cannot be executed"
        case httpx.HTTPStatusError():
            return f"it answered with HTTP {error.response.status_code}"
        case httpx.TransportError() | httpx.InvalidURL():
            return f"it cannot be connected to ({type(error).__name__})"
        case (
            McpError(error=types.ErrorData(code=types.CONNECTION_CLOSED))
            | anyio.BrokenResourceError()
            | anyio.ClosedResourceError()
            | ConnectionError()
        ):
            return "it ended before it sent an answer"
        case McpError():
            return f"it answered with error {error.error.code}"
        case _:
            return f"it failed with {type(error).__name__}"
