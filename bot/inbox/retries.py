"""Retries of a turn: when it is tried again, and when it is given up. Pure."""

from bot.chat import RateLimited, texts
from bot.inbox.hangs import MAX_HANGS
from bot.inbox.lease import TurnStart

MAX_FAILURES = 8
"""Unexpected failures, or crashes of the process, after which a turn is given up."""

MUTE_AFTER = 2
"""Deaths while reporting a given-up turn after which it ends without a message. One may be of an attempt that
was paused, lost its lease and hung when it went on."""

MAX_ATTEMPTS = 1500
"""Attempts after which a turn is given up while a service is down: about 25 hours at full back-off."""

_LONGEST_BACK_OFF = 60.0


def reason_to_give_up(start: TurnStart, max_failures: int) -> str:
    """Return the reason to give up the turn, for the operator; empty while another attempt makes sense."""
    if start.turn.hangs >= MAX_HANGS:
        return f"the process hung {start.turn.hangs} times during this turn"
    if start.turn.crashes >= max_failures:
        return f"the process died {start.turn.crashes} times during this turn"
    if start.turn.failures >= max_failures or start.turn.attempt > MAX_ATTEMPTS:
        return f"failed {start.turn.attempt - 1} times, at last with {start.error}"
    return ""


def is_mute(start: TurnStart, max_failures: int) -> bool:
    """Return True if even reporting the given-up turn crashes the process."""
    return max(start.turn.hangs - MAX_HANGS, start.turn.crashes - max_failures) >= MUTE_AFTER


def final_text(start: TurnStart, dead: str) -> str:
    """Return the last sentence of a turn that is given up (for the reason `dead`), or was stopped."""
    if start.turn.hangs >= MAX_HANGS:
        return texts.hung(start.turn.reference)
    if dead:
        return texts.given_up(start.turn.reference)
    return texts.QUESTION_DELETED if start.stop_reason == "withdrawn" else texts.STOPPED


def back_off(attempt: int, error: Exception) -> float:
    """Return the seconds until the next attempt after an error."""
    if isinstance(error, RateLimited):
        return error.retry_after
    return min(_LONGEST_BACK_OFF, 0.5 * 2.0 ** min(attempt, 10))
