"""Health report: asks all parts concurrently, never fails itself, and describes the result."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Literal

from bot import __version__
from bot.chat import Health, HealthCheck, Json
from bot.chat.text import one_line
from bot.commands.texts import HEALTH_LINES

log = logging.getLogger(__name__)

_CHECK_SECONDS = 3.0

MARKS = {"ok": "🟢", "degraded": "🟡", "down": "🔴", "off": "⚪"}

_WORST_FIRST: tuple[Literal["down", "degraded"], ...] = ("down", "degraded")


class HealthChecks:
    """Health checks of all parts, in ordered groups.

    A check that takes longer than `seconds` has failed.
    """

    def __init__(self, *groups: Sequence[HealthCheck], seconds: float = _CHECK_SECONDS) -> None:
        self._groups = groups
        self._seconds = seconds
        self._started = time.monotonic()

    async def __call__(self) -> list[Health]:
        """Return the health of every part, this process first."""
        checks = (self._ask(check) for group in self._groups for check in group)
        return [self._process(), *await asyncio.gather(*checks)]

    def _process(self) -> Health:
        uptime = round(time.monotonic() - self._started)
        return Health(name="bot", state="ok", evidence={"version": __version__, "uptime_s": uptime})

    async def _ask(self, check: HealthCheck) -> Health:
        try:
            async with asyncio.timeout(self._seconds):
                return await check.health()
        except TimeoutError:
            reason = f"no answer in {self._seconds:.0f} s"
            return Health(name=check.name, state="down", evidence={"error": reason})
        except Exception as error:  # noqa: BLE001 - a check that fails means a part that is down
            # only the type: the text may contain an address with its password, which only the log redacts
            log.warning("health check failed", extra={"part": check.name, "error": str(error)})
            return Health(name=check.name, state="down", evidence={"error": type(error).__name__})


def in_a_line(parts: Sequence[Health]) -> str:
    """Return the health for every user: without names, versions or numbers."""
    states = {part.state for part in parts}
    state: Literal["down", "degraded", "ok"] = next((each for each in _WORST_FIRST if each in states), "ok")
    return f"{MARKS[state]} {HEALTH_LINES[state]}"


def describe(parts: Sequence[Health]) -> str:
    """Return the health as a Markdown list, one line for each part."""
    return "\n".join(_line(part) for part in parts)


def _line(part: Health) -> str:
    evidence = ", ".join(f"{key.replace('_', ' ')} {_words(value)}" for key, value in part.evidence.items())
    line = f"- {MARKS[part.state]} **{part.name}** {part.state}" + (f": {evidence}" if evidence else "")
    return one_line(line)  # an error of Postgres has its details and hints on lines of their own


def _words(value: Json) -> str:
    """Return a value for readers: no brackets, quotes, `True` or `None`."""
    match value:
        case list() | tuple():
            return " and ".join(map(_words, value)) or "none"
        case bool():
            return "yes" if value else "no"
        case _:
            return "none" if value is None else str(value)
