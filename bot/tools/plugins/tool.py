"""LangChain tools for plug-ins, and their names, which cannot collide with other tools."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool

from bot.tools.waiting import GuardedTool, Preview

SEPARATOR = "__"
"""Separator that is part of no name of a built-in tool or of a plug-in."""

_MOST_CHARS = 64  # OpenAI accepts ^[a-zA-Z0-9_-]{1,64}$


def public_name(plugin: str, tool: str) -> str:
    """Return a name such as `github__create_issue`; invalid or long names get a digest."""
    plain = f"{plugin}{SEPARATOR}{re.sub(r'[^a-zA-Z0-9_-]', '_', tool)}"
    if plain == f"{plugin}{SEPARATOR}{tool}" and len(plain) <= _MOST_CHARS:
        return plain
    digest = hashlib.sha256(tool.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[: _MOST_CHARS - 9]}_{digest}"


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

    async def preview_call(self, arguments: Mapping[str, Any]) -> Preview:
        """Return the preview of a call; the plug-in itself checks the arguments."""
        return await self.preview(arguments)
