"""Times of the HTTP server: how long to wait, and how often to look."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times in seconds. They are passed to `connect`, so that tests can change them."""

    patience: float = 300.0
    """That a caller of `/chat` waits without any part of an answer."""

    keep_alive: float = 15.0
    """Of silence after which a stream gets a comment, so that no proxy closes it.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes
    """

    look: float = 0.5
    """Between two look-ups of an answer that another process gives."""

    ready: float = 1.0
    """That `/readyz` reuses a result: anybody may call it, and each check costs."""
