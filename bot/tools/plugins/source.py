"""What a plug-in offers, whatever kind it is."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from langchain_core.runnables import RunnableConfig

from bot.chat import Json
from bot.tools.approval import Preview

Arguments = Mapping[str, Json]


class PluginError(Exception):
    """A plug-in is not to be had. `str()` says why in our own words, fit for everyone who asks for health."""


class ConnectionLost(PluginError):
    """It was lost in the midst of a call, so that nobody knows whether the call was carried out."""


class SessionGone(PluginError):
    """The server was restarted and does not know the session any more, so that it carried nothing out."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One tool as its plug-in describes it. Nothing of it is trusted.

    `call` returns the text for the model; it raises `ToolFailure`, `PluginError` (nothing answers there
    now) and whatever a plug-in raises. `preview` is there when the plug-in wants a person to be asked.
    """

    name: str
    description: str
    parameters: Json
    call: Callable[[Arguments, RunnableConfig], Awaitable[str]] = field(compare=False)
    preview: Callable[[Arguments], Awaitable[Preview]] | None = field(default=None, compare=False)


class Source(Protocol):
    """Where a plug-in's tools come from."""

    async def prepare(self) -> None:
        """Do what needs its time and none of the plug-in's."""

    async def run(self, offer: Callable[[Sequence[Offer]], None]) -> None:
        """Open it and hand its tools to `offer`, again whenever they change, until cancelled.

        May be called again after it has raised, which it does when the plug-in is lost. Raises `PluginError`,
        and whatever the plug-in raises.
        """
