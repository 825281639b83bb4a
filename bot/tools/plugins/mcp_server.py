"""Tools of an MCP server. The client library takes seconds to import, so it is imported only on demand."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig

from bot.config.plugins import McpServer
from bot.tools.errors import ToolFailure
from bot.tools.plugins.source import (
    Arguments,
    Offer,
    PluginError,
    PluginLimits,
    SessionGone,
)

if TYPE_CHECKING:
    from bot.tools.plugins.mcp_session import Session

log = logging.getLogger(__name__)


class McpSource:
    """Source of the tools of one server: one session for all calls, renewed when it is lost."""

    def __init__(self, name: str, server: McpServer, limits: PluginLimits) -> None:
        self._name = name
        self._server = server
        self._limits = limits
        self._session: Session | None = None
        self._renewed = asyncio.Event()

    async def prepare(self) -> None:
        """Import the client library in a thread."""
        await asyncio.to_thread(_client)

    async def run(self, offer: Callable[[Sequence[Offer]], None]) -> None:
        """Connect, and offer the tools until cancelled; a restarted server is reconnected at once."""
        client = _client()
        try:
            while await self._serve(client, offer):
                log.info("plug-in reconnected", extra={"plugin": self._name})
        except (PluginError, asyncio.CancelledError):
            raise
        except Exception as error:  # foreign client and server: reported in health, and started again later
            raise PluginError(client.reason(error)) from error
        finally:
            self._session = None
            self._renewed.set()  # release waiting calls: no other session will come
        raise PluginError("it forgets each session at once")

    async def _serve(self, client: Any, offer: Callable[[Sequence[Offer]], None]) -> bool:
        """Serve one session until the server forgets it; return True if it offered tools."""
        is_up = False
        async with client.open_session(self._name, self._server, self._limits) as session:
            with suppress(SessionGone):  # outside it would arrive as an exception group
                offers = await session.tools()
                self._session = session
                self._renewed.set()
                while True:
                    offer([self._offer(*each) for each in offers])
                    is_up = True
                    await session.occasion_to_look()
                    offers = await session.tools()
        return is_up

    def _offer(self, name: str, description: str, parameters: object) -> Offer:
        return Offer(name, description, parameters, call=partial(self._call, name))

    async def _call(self, tool: str, arguments: Arguments, _: RunnableConfig) -> str:
        if self._session is None:
            raise PluginError("it is not connected at the moment")
        session = self._session
        try:
            text, is_error = await session.call(tool, dict(arguments))
        except SessionGone:
            text, is_error = await (await self._after(session)).call(tool, dict(arguments))
        if is_error:
            raise ToolFailure(text or "The tool reported a failure without a reason.")
        return text

    async def _after(self, gone: "Session") -> "Session":
        """Return the session that replaces a lost one; the caller's time limit bounds the wait."""
        if self._session is gone:
            self._session = None
            self._renewed.clear()
        await self._renewed.wait()
        if self._session is None:
            raise PluginError("it is not connected at the moment")
        return self._session


def _client() -> Any:
    from bot.tools.plugins import mcp_session

    return mcp_session
