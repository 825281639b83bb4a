"""What the slash commands do, the same on every platform."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bot.chat import Event, Health, Message, Stop
from bot.operations import Operations

STOP = "!stop"

MARKS = {"ok": "🟢", "degraded": "🟡", "down": "🔴", "off": "⚪"}


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands a platform offers. Each returns Markdown for the caller's eyes only."""

    examine: Callable[[], Awaitable[Sequence[Health]]]
    halt: Callable[[Stop], Awaitable[int]]
    """Stops turns at once, in whichever process they run; returns how many."""
    operations: Operations | None = None
    """What `/agent-redis` runs; without it the platforms do not offer that command."""

    async def health(self) -> str:
        """`/agent-health`: the state of each part and the evidence for it."""
        return describe(await self.examine())

    async def stop(self, request: Stop) -> str:
        """`/agent-stop`: end the answers that `request` names."""
        stopped = await self.halt(request)
        if not stopped:
            return "There is nothing to stop here."
        return "Stopped." if stopped == 1 else f"Stopped {stopped} answers."


def typed(message: Message) -> Event:
    """The message, or what it orders: slash commands do not work inside Slack's threads, `!stop` does."""
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
