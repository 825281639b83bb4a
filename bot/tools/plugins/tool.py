"""A plug-in's tool as the agent calls it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool

from bot.tools.approval import GuardedTool, Preview


class ForeignTool(StructuredTool):
    """Hands the arguments to `work` as the model wrote them, whatever they are called.

    LangChain passes arguments by name, and would take one that is called `config` or `self` for its own.
    """

    work: Callable[[Mapping[str, Any], RunnableConfig], Awaitable[str]]

    async def ainvoke(
        self, input: str | dict[str, Any] | ToolCall, config: RunnableConfig | None = None, **kwargs: Any
    ) -> ToolMessage:
        """The result of a tool call, which `input` is. Raises `ToolFailure`."""
        call = cast(ToolCall, input)
        return ToolMessage(
            await self.work(call["args"], config or {}), tool_call_id=call["id"], name=self.name
        )


class GuardedForeignTool(ForeignTool, GuardedTool):
    """The same behind a person's approval; `preview` takes the arguments as one mapping."""

    async def preview_call(self, arguments: Mapping[str, Any]) -> Preview:
        """See `GuardedTool`. The arguments are checked by whoever runs the tool."""
        return await self.preview(arguments)
