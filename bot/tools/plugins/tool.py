"""LangChain tools for plug-ins."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool

from bot.tools.approval import GuardedTool, Preview


class ForeignTool(StructuredTool):
    """Tool that passes the arguments to `work` as one mapping, whatever their names.

    LangChain passes arguments by name and would take `config` or `self` for its own.
    """

    work: Callable[[Mapping[str, Any], RunnableConfig], Awaitable[str]]

    async def ainvoke(
        self, input: str | dict[str, Any] | ToolCall, config: RunnableConfig | None = None, **kwargs: Any
    ) -> ToolMessage:
        """Return the result of a tool call. Raises `ToolFailure`."""
        call = cast(ToolCall, input)
        return ToolMessage(
            await self.work(call["args"], config or {}), tool_call_id=call["id"], name=self.name
        )


class GuardedForeignTool(ForeignTool, GuardedTool):
    """Plug-in tool that requires an approval; `preview` takes the arguments as one mapping."""

    async def previewed(self, arguments: Mapping[str, Any]) -> Preview:
        """Return the preview of a call; the plug-in itself checks the arguments."""
        return await self.preview(arguments)
