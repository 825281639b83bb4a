"""Durations that the HTTP platform chooses; those of connections are in `bot.http.connections.Bounds`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations, all in seconds. Tests pass others."""

    delivery_timeout: float = 10.0
    """Longest time that a caller waits until a message is stored."""

    answer_timeout: float = 300.0
    """Longest time that a caller of `/chat` waits without any part of an answer."""

    answer_poll: float = 0.5
    """Time between two look-ups of an answer that another process gives."""

    keep_alive_interval: float = 15.0
    """Time of silence after which a stream gets a comment, so that no proxy closes it.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes
    """

    forget_interval: float = 20.0
    """Time between two looks for deleted conversations that cannot be restored any more."""

    ready_max_age: float = 1.0
    """Time for which `/readyz` reuses a result: anybody may call it, and each check costs."""

    close_timeout: float = 3.0
    """Longest time for running requests to finish when the server closes."""
