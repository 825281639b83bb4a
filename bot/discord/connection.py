"""State of a gateway connection."""

import time

from bot.chat import Json
from bot.platforms.health import State


class Connection:
    """Connection to the gateway: its state outlives the listeners."""

    def __init__(self, down_after: float) -> None:
        self._down_after = down_after
        self._lost_at: float | None = time.monotonic()
        self._event_at: float | None = None

    def mark_connected(self) -> None:
        """Mark the gateway as connected."""
        self._lost_at = None

    def mark_lost(self) -> None:
        """Mark the gateway as disconnected."""
        if self._lost_at is None:
            self._lost_at = time.monotonic()

    def note_event(self) -> None:
        """Note that an event was received."""
        self._event_at = time.monotonic()

    @property
    def lost_s(self) -> float:
        """Return for how many seconds the gateway has been disconnected; 0 while it is connected."""
        return 0.0 if self._lost_at is None else time.monotonic() - self._lost_at

    def state(self) -> State:
        """Return the state: `degraded` for `down_after` seconds without a connection, then `down`."""
        if self._lost_at is None:
            return "ok"
        return "degraded" if self.lost_s <= self._down_after else "down"

    def evidence(self) -> dict[str, Json]:
        """Return the evidence for `state`, and the time of the last event."""
        evidence: dict[str, Json] = {"connected": self._lost_at is None}
        if self._lost_at is not None:
            evidence["disconnected_s"] = round(self.lost_s, 1)
        if self._event_at is not None:
            evidence["last_event_s"] = round(time.monotonic() - self._event_at, 1)
        return evidence
