"""Times of Slack: how long to wait, and how often to check."""

from dataclasses import dataclass

from bot.platforms.health import FRESH_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times in seconds. They are passed from the adapter down, so that tests can shorten them."""

    acknowledge: float = 2.0
    """Until an interaction is acknowledged: Slack waits 3 s. Slower answers are sent after it."""

    author_patience: float = 1.0
    """That a message waits for details of its author: Slack expects an acknowledgement within three."""

    author_known: float = 600.0
    """That details of an author are remembered."""

    ping: float = 5.0
    """Between two pings of a socket."""

    watch: float = 15.0
    """Between two checks of the sockets."""

    dead: float = 60.0
    """Without an open socket until all are opened again."""

    probe: float = 2.0
    """That health waits for the answer to a probe."""

    fresh: float = FRESH_SECONDS
    """That the answer to a probe is cached."""

    no_sessions: float = 3600.0
    """Until a workspace without sessions is tried again: it may get them, or the app the permission."""

    stream: float = 240.0
    """Until an answer continues in a new message. Slack ends a stream about 300 s after its start, even while
    it is in use: https://github.com/slackapi/python-slack-sdk/issues/1859"""

    part: float = 300.0
    """That one part of a reply may fail while Slack answers everything else; then a sentence replaces it."""
