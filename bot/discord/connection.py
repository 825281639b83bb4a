"""The state of a gateway connection."""

import time

from bot.chat import Json
from bot.platforms.health import State

DOWN_SECONDS = 60.0
"""How long the bot may hear nothing until that is more than a reconnection."""


class Connection:
    """Connection to the gateway: its state is kept while listeners come and go."""

    def __init__(self) -> None:
        self._lost_at: float | None = time.monotonic()
        self._heard_at: float | None = None

    def up(self) -> None:
        """The gateway is connected."""
        self._lost_at = None

    def lost(self) -> None:
        """The gateway is not connected any more."""
        if self._lost_at is None:
            self._lost_at = time.monotonic()

    def heard(self) -> None:
        """An event came."""
        self._heard_at = time.monotonic()

    @property
    def lost_s(self) -> float:
        """For how many seconds the gateway has not been connected; 0 while it is."""
        return 0.0 if self._lost_at is None else time.monotonic() - self._lost_at

    def state(self) -> State:
        """`degraded` while it may still come back by itself, `down` after `DOWN_SECONDS`."""
        if self._lost_at is None:
            return "ok"
        return "degraded" if self.lost_s <= DOWN_SECONDS else "down"

    def evidence(self) -> dict[str, Json]:
        """What `state` follows from, and when something was last heard."""
        evidence: dict[str, Json] = {"connected": self._lost_at is None}
        if self._lost_at is not None:
            evidence["disconnected_s"] = round(self.lost_s, 1)
        if self._heard_at is not None:
            evidence["last_event_s"] = round(time.monotonic() - self._heard_at, 1)
        return evidence
