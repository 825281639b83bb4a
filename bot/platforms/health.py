"""Health of a platform: its answer to the bot's token, cached so that anybody may ask often."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Literal

from bot.chat import Json

State = Literal["ok", "degraded", "down"]
Finding = tuple[State, Mapping[str, Json]]
"""A state and the evidence for it, as in `bot.chat.Health`."""

FRESH_SECONDS = 60.0
"""Seconds for which an answer is cached."""

_BY_GRAVITY: tuple[State, ...] = ("ok", "degraded", "down")


def worst(states: Iterable[State]) -> State:
    """Return the worst of several states."""
    return max(states, key=_BY_GRAVITY.index)


class TokenProbe(ABC):
    """Cached answer of a platform to a call that costs nothing and needs the token."""

    def __init__(self, max_age: float = FRESH_SECONDS) -> None:
        self._max_age = max_age
        self._lock = asyncio.Lock()  # for simultaneous callers
        self._finding: Finding | None = None
        self._found_at = 0.0

    async def __call__(self) -> Finding:
        """Return the platform's answer, with its age in seconds as `last_probe_s`."""
        async with self._lock:
            if self._finding is None or time.monotonic() - self._found_at > self._max_age:
                self._finding = await self._ask()
                self._found_at = time.monotonic()
            state, evidence = self._finding
            return state, {**evidence, "last_probe_s": round(time.monotonic() - self._found_at, 1)}

    @abstractmethod
    async def _ask(self) -> Finding:
        """Ask the platform; errors are not cached."""
