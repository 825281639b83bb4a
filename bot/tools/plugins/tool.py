"""A plug-in's tool as the agent calls it, and its name: none can be taken for another tool's."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool

from bot.tools.approval import GuardedTool, Preview

SEPARATOR = "__"
"""Stands in no name of the bot's own tools, and in no plug-in's."""

_MOST_CHARS = 64  # what OpenAI takes: ^[a-zA-Z0-9_-]{1,64}$


def public_name(plugin: str, tool: str) -> str:
    """`github__create_issue`; what does not fit into a name is told apart by a digest."""
    plain = f"{plugin}{SEPARATOR}{re.sub(r'[^a-zA-Z0-9_-]', '_', tool)}"
    if plain == f"{plugin}{SEPARATOR}{tool}" and len(plain) <= _MOST_CHARS:
        return plain
    digest = hashlib.sha256(tool.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[: _MOST_CHARS - 9]}_{digest}"


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
