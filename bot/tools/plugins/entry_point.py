"""Tools of installed Python packages: entry points of the group `bot.tools`.

An entry point names a callable without arguments that returns a list of LangChain tools, or an async context
manager that yields one and closes the tools' resources. The code is trusted, but its errors must not stop the
bot.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib.metadata import entry_points
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, Tool
from pydantic import BaseModel

from bot.chat import Json
from bot.tools.errors import ToolFailure
from bot.tools.plugins.daemon_thread import in_thread
from bot.tools.plugins.source import Arguments, Offer, PluginError
from bot.tools.waiting import GuardedTool

GROUP = "bot.tools"

MOST_THREADS = 8
"""Most concurrent calls of one plug-in's synchronous tools; hanging ones count until they end."""


class EntryPointSource:
    """Source of the tools of one entry point."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loading: asyncio.Future[Any] | None = None
        self._threads = 0

    async def prepare(self) -> None:
        """Do nothing: the import happens in `run`."""

    async def run(self, offer: Callable[[Sequence[Offer]], None]) -> None:
        """Load the entry point, offer its tools, and keep its context open until cancelled."""
        made = await self._load_once()
        if isinstance(made, AbstractAsyncContextManager):
            async with made as tools:
                offer(self._offers(tools))
                await asyncio.Event().wait()
        offer(self._offers(made))
        await asyncio.Event().wait()

    async def _load_once(self) -> Any:
        """Return the result of the entry point; a hanging import is awaited again, not repeated."""
        if self._loading is None or self._loading.done():
            self._loading = in_thread(f"load {self._name}", partial(_load, self._name))
        return await asyncio.shield(self._loading)

    def _offers(self, tools: Any) -> list[Offer]:
        if inspect.iscoroutine(tools):
            tools.close()
        is_list = isinstance(tools, Sequence) and not isinstance(tools, str | bytes)
        if not is_list or not all(isinstance(each, BaseTool) for each in tools):
            raise PluginError(f"gave {type(tools).__name__}, not a list of LangChain tools")
        return [self._offer(each) for each in tools]

    def _offer(self, tool: BaseTool) -> Offer:
        return Offer(
            name=tool.name,
            description=tool.description,
            parameters=_parameters(tool),
            call=partial(self._call, tool),
            preview=tool.preview_call if isinstance(tool, GuardedTool) else None,
        )

    async def _call(self, tool: BaseTool, arguments: Arguments, config: RunnableConfig) -> str:
        call = {"name": tool.name, "args": dict(arguments), "id": "call", "type": "tool_call"}
        # the turn and the approved request, without internals of the agent
        given = RunnableConfig(configurable=_without_internals(config))
        run = self._in_thread if _is_synchronous(tool) else _invoke
        result = await run(tool, call, given)
        if not isinstance(result, ToolMessage):
            raise ToolFailure(f"{tool.name} returned {type(result).__name__}, which is not text.")
        if result.status == "error":
            raise ToolFailure(result.text)
        return result.text

    async def _in_thread(self, tool: BaseTool, call: dict[str, Json], config: RunnableConfig) -> Any:
        if self._threads >= MOST_THREADS:
            raise ToolFailure(f"{self._name} is busy with {MOST_THREADS} other calls; try again later.")
        self._threads += 1
        running = in_thread(f"call {tool.name}", partial(tool.invoke, call, config))
        running.add_done_callback(self._on_end)
        return await asyncio.shield(running)

    def _on_end(self, _: asyncio.Future[Any]) -> None:
        self._threads -= 1


def _load(name: str) -> Any:
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise PluginError(f"no installed package has an entry point {name} in the group {GROUP}")
    if len({each.value for each in found}) > 1:
        raise PluginError(f"several installed packages have an entry point {name} in the group {GROUP}")
    factory = next(iter(found)).load()
    if not callable(factory):
        raise PluginError(f"its entry point is {type(factory).__name__}, which cannot be called")
    return factory()


_Run = Callable[[BaseTool, dict[str, Json], RunnableConfig], Awaitable[Any]]


async def _invoke(tool: BaseTool, call: dict[str, Json], config: RunnableConfig) -> Any:
    return await tool.ainvoke(call, config)


def _is_synchronous(tool: BaseTool) -> bool:
    if isinstance(tool, StructuredTool | Tool):
        return tool.coroutine is None
    return type(tool)._arun is BaseTool._arun


def _parameters(tool: BaseTool) -> Json:
    schema = tool.tool_call_schema
    if isinstance(schema, dict):
        return schema
    return schema.model_json_schema() if issubclass(schema, BaseModel) else schema.schema()


def _without_internals(config: RunnableConfig) -> dict[str, Any]:
    given = config.get("configurable", {})
    return {key: value for key, value in given.items() if not key.startswith("__")}
