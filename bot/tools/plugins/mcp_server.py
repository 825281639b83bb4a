"""Tools of an MCP server. Its client takes seconds to import, and so is imported only when one is set."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig

from bot.plugin_settings import McpServer
from bot.tools.failure import ToolFailure
from bot.tools.plugins.offer import Arguments, Offer, PluginError

if TYPE_CHECKING:
    from bot.tools.plugins.mcp_session import Session


class McpSource:
    """Implements `Source` for one server: one session that all calls share, renewed when it is lost."""

    def __init__(self, name: str, server: McpServer) -> None:
        self._name = name
        self._server = server
        self._session: Session | None = None

    async def prepare(self) -> None:
        """Import the client library, beside whatever else happens."""
        await asyncio.to_thread(_client)

    async def run(self, offer: Callable[[Sequence[Offer]], None]) -> None:
        """See `Source`."""
        client = _client()
        try:
            async with client.connected(self._name, self._server) as session:
                self._session = session
                while True:
                    offer([self._offer(*each) for each in await session.tools()])
                    await session.occasion_to_look()
        except (PluginError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise PluginError(client.reason(error)) from error
        finally:
            self._session = None

    def _offer(self, name: str, description: str, parameters: object) -> Offer:
        return Offer(name, description, parameters, call=partial(self._call, name))

    async def _call(self, tool: str, arguments: Arguments, _: RunnableConfig) -> str:
        if self._session is None:
            raise PluginError("it is away at the moment")
        text, is_error = await self._session.call(tool, dict(arguments))
        if is_error:
            raise ToolFailure(text or "The tool says that it failed, and not why.")
        return text


def _client() -> Any:
    from bot.tools.plugins import mcp_session

    return mcp_session
