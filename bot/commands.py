"""What the slash commands do, the same on every platform."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bot.chat import Health

MARKS = {"ok": "🟢", "degraded": "🟡", "down": "🔴", "off": "⚪"}


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands a platform offers. Each returns Markdown for the caller's eyes only."""

    examine: Callable[[], Awaitable[Sequence[Health]]]

    async def health(self) -> str:
        """`/agent-health`: the state of each part and the evidence for it."""
        return describe(await self.examine())


def describe(parts: Sequence[Health]) -> str:
    """Health as a Markdown list, a line a part."""
    return "\n".join(_line(part) for part in parts)


def _line(part: Health) -> str:
    evidence = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in part.evidence.items())
    line = f"- {MARKS[part.state]} **{part.name}** {part.state}" + (f": {evidence}" if evidence else "")
    return " ".join(line.split())  # an error of Postgres has its details and hints on lines of their own
