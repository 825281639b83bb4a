"""Interface of plug-in sources: limits, offered tools and errors."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from langchain_core.runnables import RunnableConfig

from bot.chat import Json
from bot.tools.waiting import Preview

Arguments = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class PluginLimits:
    """Limits of one plug-in. After a failure it is started again with a delay that doubles each time."""

    start_seconds: float = 10.0
    answer_seconds: float = 5.0
    first_delay: float = 1.0
    longest_delay: float = 60.0
    most_bytes: int = 16 << 20
    """Largest response of an MCP server, largest event of a stream, or longest line of a child's output."""


class PluginError(Exception):
    """Plug-in that is unavailable. `str()` is the reason without foreign text, fit for health."""


class ConnectionLost(PluginError):
    """Connection lost during a call: it is unknown whether the call was executed."""


class SessionGone(PluginError):
    """Session that a restarted server no longer knows: the call was not executed."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Tool as its plug-in describes it; all fields are untrusted.

    `call` returns the text for the model and raises `ToolFailure`, `PluginError` or any other error.
    `preview` is set if the plug-in requires an approval.
    """

    name: str
    description: str
    parameters: Json
    call: Callable[[Arguments, RunnableConfig], Awaitable[str]] = field(compare=False)
    preview: Callable[[Arguments], Awaitable[Preview]] | None = field(default=None, compare=False)


class Source(Protocol):
    """Source of a plug-in's tools."""

    async def prepare(self) -> None:
        """Prepare what must not count against the plug-in's start time, such as imports."""

    async def run(self, offer: Callable[[Sequence[Offer]], None]) -> None:
        """Open the source and pass its tools to `offer` whenever they change, until cancelled.

        Raises `PluginError`, or any error of the plug-in, when it is lost; may then be called again.
        """
