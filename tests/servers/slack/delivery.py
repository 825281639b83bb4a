"""Delivery of events, commands and interactions to an app, with Slack's redelivery of events.

An event that is not acknowledged within three seconds is sent again at once, after a minute and after five
(docs.slack.dev/apis/events-api); commands and interactions are sent once. Only an acknowledgement in time on
the same socket counts here: Slack does not document others.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Json = Any
Kind = Literal["events_api", "slash_commands", "interactive"]


@dataclass(slots=True, eq=False)
class Attempt:
    """One transmission of a payload; `failure` is Slack's reason why it did not count."""

    number: int
    envelope_id: str
    sent_at: float
    reason: str | None
    acked_at: float | None = None
    response: Json = None
    failure: str | None = None
    acked: asyncio.Event = field(default_factory=asyncio.Event)

    def acknowledge(self, response: Json) -> None:
        self.acked_at = time.monotonic()
        self.response = response
        self.acked.set()


@dataclass(slots=True, eq=False)
class Delivery:
    """Payload for the app, with every attempt to deliver it."""

    kind: Kind
    payload: dict[str, Json]
    attempts: list[Attempt] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def acked(self) -> bool:
        """Return True if an attempt was acknowledged in time."""
        return any(each.acked_at is not None and each.failure is None for each in self.attempts)

    @property
    def elapsed_ms(self) -> float | None:
        """Return the milliseconds from the successful attempt to its acknowledgement."""
        good = (each for each in self.attempts if each.acked_at and each.failure is None)
        return next((1000 * ((each.acked_at or 0) - each.sent_at) for each in good), None)

    @property
    def response(self) -> Json:
        """Return the payload of the acknowledgement."""
        return next((each.response for each in self.attempts if each.failure is None), None)

    @property
    def event(self) -> dict[str, Json]:
        """Return the inner event of an `events_api` payload."""
        event: dict[str, Json] = self.payload["event"]
        return event


class Transport(Protocol):
    """Sends one attempt to the app; sets `failure` if it was not acknowledged within `timeout` s.

    Returns False if the app asked for no further attempts.
    """

    async def send(self, delivery: Delivery, attempt: Attempt, timeout: float) -> bool: ...


class Courier:
    """Delivery service with a task for each payload and a record of all deliveries."""

    def __init__(self, ack_timeout: float, redelivery_delays: Sequence[float]) -> None:
        self.ack_timeout = ack_timeout
        self.redelivery_delays = redelivery_delays
        self.deliveries: list[Delivery] = []
        self._envelopes = 0

    async def deliver(self, delivery: Delivery, transport: Transport) -> None:
        """Send a payload until it is acknowledged in time, or given up."""
        delays = (0.0, *self.redelivery_delays) if delivery.kind == "events_api" else (0.0,)
        reason = None
        for number, delay in enumerate(delays):
            await asyncio.sleep(delay)  # Slack's schedule
            attempt = self._attempt(delivery, number, reason)
            again = await transport.send(delivery, attempt, self.ack_timeout)
            if attempt.failure is None or not again:
                break
            reason = attempt.failure
        delivery.ended.set()

    def _attempt(self, delivery: Delivery, number: int, reason: str | None) -> Attempt:
        self._envelopes += 1
        attempt = Attempt(number, f"envelope-{self._envelopes:06}", time.monotonic(), reason)
        delivery.attempts.append(attempt)
        return attempt

    def open(self) -> list[Delivery]:
        """Return the deliveries that are neither acknowledged nor given up."""
        return [each for each in self.deliveries if not each.ended.is_set()]
