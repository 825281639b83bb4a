"""Session start limits: https://discord.com/developers/docs/events/gateway#session-start-limit-object."""

import time
from enum import Enum

from tests.servers.discord.records import Json


class Verdict(Enum):
    """Result of an IDENTIFY."""

    FINE = "fine"
    TOO_SOON = "too soon after another one"
    USED_UP = "no session starts remain"
    TOO_FEW_SHARDS = "sharding required"


class SessionStarts:
    """Session start limits, which may change at any time.

    `seconds` are between two IDENTIFYs whose shards have the same remainder by `max_concurrency`;
    `least_shards` is demanded for the number of guilds, `shards` is recommended; `reset_after` is in seconds.
    """

    def __init__(self) -> None:
        self.shards = 1
        self.least_shards = 1
        self.max_concurrency = 1
        self.seconds = 5.0
        self.total = self.remaining = 1000
        self.reset_after = 14_400.0
        self._last: dict[int, float] = {}

    def take(self, number: int, count: int) -> Verdict:
        """Count an IDENTIFY of a shard."""
        now, key = time.monotonic(), number % self.max_concurrency
        last, self._last[key] = self._last.get(key), now
        if self.remaining <= 0:
            return Verdict.USED_UP
        self.remaining -= 1
        if last is not None and now - last < self.seconds:
            return Verdict.TOO_SOON
        return Verdict.TOO_FEW_SHARDS if count < self.least_shards else Verdict.FINE

    def limit(self) -> Json:
        """Return the `session_start_limit` of `GET /gateway/bot`."""
        return {
            "total": self.total,
            "remaining": self.remaining,
            "reset_after": int(self.reset_after * 1000),
            "max_concurrency": self.max_concurrency,
        }
