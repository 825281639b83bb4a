"""Receiving side of a platform: a `Platform` that delivers events and offers the commands."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from bot.chat import Deliver, Platform

if TYPE_CHECKING:  # adapters are imported before the settings are checked, so nothing heavy here
    from aiohttp import web

    from bot.commands.commands import Commands


@dataclass(frozen=True, slots=True)
class Webhook:
    """Address for a service's own requests to the HTTP server; `handle` authenticates the callers itself."""

    handle: Callable[["web.Request"], Awaitable["web.StreamResponse"]]
    method: Literal["GET", "POST"] = "POST"


class Receiver(Platform, Protocol):
    """Platform as it is opened. It answers at once, and gets the commands when it begins to receive.

    So it can be opened before the agent, which uses it, and before the commands, which use the agent.
    """

    @property
    def webhooks(self) -> Mapping[str, Webhook]:
        """Return the addresses that the HTTP server serves for the platform, by path."""

    async def receive(self, deliver: Deliver, commands: "Commands") -> None:
        """Pass every event to `deliver`, and answer `commands`, until cancelled.

        May be called again after an error; each call opens new connections. Replies work before, during and
        after it, and in processes that never call it. Raises `PlatformError` if the connection cannot be
        restored (`CredentialsRejected`: do not try again).
        """

    async def catch_up(self, deliver: Deliver) -> None:
        """Pass missed messages to `deliver`, once connected.

        Called every few seconds beside `receive`. Reads the history, oldest first, after each lost
        connection, and from time to time to detect a connection that receives no events. It starts at the
        time until which all events were taken, at most CATCH_UP_HOURS ago. Messages that were taken already
        are passed again, which has no effect. Raises `PlatformError` and the errors of `deliver`; the next
        call then tries again.
        """
