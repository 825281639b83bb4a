"""What the slash commands do, the same on every platform."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.chat import Event, Health, Message, Stop

STOP = "!stop"
HEALTH = "!health"
MEMORY = "!memory"

MARKS = {"ok": "🟢", "degraded": "🟡", "down": "🔴", "off": "⚪"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who runs a command: an author, as in `Message`, in the space where that was, as in `ThreadId`."""

    author: str
    space: str


class PersonalMemory(Protocol):
    """What is kept about a person, for that person. All methods raise `BotError`; texts are Markdown."""

    async def show(self, caller: Caller) -> str:
        """What there is, the newest first."""

    async def summary(self, message: Message) -> str:
        """How much there is about who wrote a message, in words that others may read."""

    async def export(self, caller: Caller) -> bytes:
        """All of it, as a JSON document."""

    async def forget(self, caller: Caller, *, confirmed: bool) -> str:
        """Remove all of it, once that is confirmed; before that say what would go."""

    async def link(self, caller: Caller, code: str) -> str:
        """Make a code, or use the one that another account of the same person has made."""

    async def unlink(self, caller: Caller) -> str:
        """Undo that."""


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands a platform offers. Each returns Markdown for the caller's eyes only."""

    examine: Callable[[], Awaitable[Sequence[Health]]]
    halt: Callable[[Stop], Awaitable[int]]
    """Stops turns at once, in whichever process they run; returns how many."""

    memory: PersonalMemory | None = None

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
        if message.text.strip().lower() == HEALTH:
            return await self.health()
        if self.memory and message.text.strip().lower() == MEMORY:
            return await self.memory.summary(message)
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
