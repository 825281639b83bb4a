"""What the slash commands do, the same on every platform."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bot.chat import Event, Health, Message, Stop

STOP = "!stop"
HEALTH = "!health"
USAGE = "!usage"

MARKS = {"ok": "🟢", "degraded": "🟡", "down": "🔴", "off": "⚪"}


Usage = Callable[[str, bool], Awaitable[str]]
"""`/agent-usage`: what an author has used of the model today, or what all have. Raises `StorageDown`."""


async def nothing_used(by: str, of_all: bool) -> str:
    """The usage of a model that costs nothing."""
    return "No language model is configured, so nothing is used up."


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands a platform offers. Each returns Markdown for the caller's eyes only."""

    examine: Callable[[], Awaitable[Sequence[Health]]]
    halt: Callable[[Stop], Awaitable[int]]
    """Stops turns at once, in whichever process they run; returns how many."""
    usage: Usage = nothing_used

    async def health(self) -> str:
        """`/agent-health`: the state of each part and the evidence for it."""
        return describe(await self.examine())

    async def stop(self, request: Stop) -> str:
        """`/agent-stop`: end the answers that `request` names."""
        stopped = await self.halt(request)
        if not stopped:
            return "There is nothing to stop here."
        return "Stopped." if stopped == 1 else f"Stopped {stopped} answers."

    async def said(self, message: Message) -> str | None:
        """What a command typed in a thread is answered with, as Slack's threads take no slash commands.

        None when the message holds none. `!stop` is none either: it acts at the door, see `typed`.
        """
        command = message.text.strip().lower()
        if command == HEALTH:
            return await self.health()
        if command == USAGE:
            return await self.usage(message.author, False)
        return None


def typed(message: Message) -> Event:
    """The message, or the stop that it orders, which is not to wait for its turn."""
    if message.text.strip().lower() == STOP:
        return Stop(
            by=message.author,
            id=message.id,
            at=message.sent_at,
            thread=message.thread,
            channel=message.place.get("channel", ""),
        )
    return message


def describe(parts: Sequence[Health]) -> str:
    """Health as a Markdown list, a line a part."""
    return "\n".join(_line(part) for part in parts)


def _line(part: Health) -> str:
    evidence = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in part.evidence.items())
    line = f"- {MARKS[part.state]} **{part.name}** {part.state}" + (f": {evidence}" if evidence else "")
    return " ".join(line.split())  # an error of Postgres has its details and hints on lines of their own
