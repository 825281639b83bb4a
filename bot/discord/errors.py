"""Translation of discord.py's errors into those of bot.chat."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import discord

from bot.chat import CredentialsRejected, PlatformError, RateLimited, Undeliverable, Unreachable
from bot.discord import texts

log = logging.getLogger(__name__)

_PORTAL = "https://discord.com/developers/applications"
_BAD_TOKEN = f"Discord does not accept DISCORD_TOKEN: copy the bot's token again from {_PORTAL} (Bot > Token)"
_NO_INTENT = (
    f"Discord does not let the bot of DISCORD_TOKEN read messages: switch on the Message Content Intent at "
    f"{_PORTAL} (Bot > Privileged Gateway Intents)"
)
_TOKEN_CLOSED = 4004
_TOO_FEW_SHARDS = 4011
_FATAL_CLOSES = frozenset({4010, 4012, 4013})
"""Wrong shard, wrong API version, wrong intents: connecting again does not help
(https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes)."""

_HOPELESS = frozenset({10003, 10004, 50001, 50007, 50013})
"""Unknown channel or server, no access, no direct messages to this user, no permission: nothing can be shown
there (https://discord.com/developers/docs/topics/opcodes-and-status-codes#json)."""

NO_ACCESS, NO_PERMISSION = 50001, 50013
NAME_REFUSED = frozenset({20031, 50035, 200001})
"""The name of a thread has words that the server does not allow, or is not a valid one."""

_THREAD_ARCHIVED, _THREAD_LOCKED = 50083, 160005
_TOO_MANY_THREADS = frozenset({160006, 160007})
"""As many threads are active as a server may have; no archived one can be reopened."""

_REASONS = {
    10003: texts.CHANNEL_DELETED,
    NO_ACCESS: texts.CHANNEL_HIDDEN,
    NO_PERMISSION: texts.NO_PERMISSION,
    _THREAD_ARCHIVED: texts.THREAD_LOCKED,
    _THREAD_LOCKED: texts.THREAD_LOCKED,
    **dict.fromkeys(_TOO_MANY_THREADS, texts.TOO_MANY_THREADS),
}

_INTERACTION_ENDED = 50027
"""Code for the token of an interaction after 15 minutes; the bot's own token is sound."""

RESPONSE_GONE = frozenset({_INTERACTION_ENDED, 10008, 10015})
"""Codes for a response to an interaction that cannot be changed any more: too old, or dismissed."""

_BAN_SECONDS = 60.0
"""Seconds to wait after a 429 without Retry-After."""


class Refused(Undeliverable):
    """Discord refuses this request; another one to the same place may succeed.

    A message may be deleted (10008), AutoMod may object to a text (200000), ...
    """


class ThreadArchived(Refused):
    """Discord refuses to change something in an archived thread."""


class ThreadLocked(Undeliverable):
    """A moderator has locked the thread: it takes no messages, and the bot does not undo that."""


class Unreadable(Unreachable):
    """Discord's answer cannot be read by discord.py; the next one may be readable."""


_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError)


class GivenUp(Refused):
    """Discord keeps failing at a request, longer than the bot waits."""


@contextmanager
def translate_errors(*, is_reading: bool = False) -> Iterator[None]:
    """Raise discord.py's errors, and those of the connection below it, as `PlatformError`s.

    With `is_reading`, these include any error that discord.py raises for an unexpected answer.
    """
    try:
        yield
    except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise _platform_error(error) from error
    except _UNREADABLE as error:
        if not is_reading:
            raise
        log.warning("Discord answer not read", exc_info=error)
        raise Unreadable(f"Discord's answer cannot be read: {error!r}") from error


def _platform_error(error: Exception) -> PlatformError:
    match error:
        case discord.RateLimited():
            return RateLimited("Discord's rate limit is reached", error.retry_after)
        case discord.LoginFailure():
            return CredentialsRejected(_BAD_TOKEN)
        case discord.PrivilegedIntentsRequired():
            return CredentialsRejected(_NO_INTENT)
        case discord.ConnectionClosed():
            return _from_close_code(error.code)
        case discord.HTTPException():
            return _from_http_error(error)
        case discord.InvalidData():
            return Refused(f"discord.py cannot read it: {error}")
        case _:
            return Unreachable(f"Discord is unreachable: {type(error).__name__}: {error}")


def _from_close_code(code: int) -> PlatformError:
    if code == _TOKEN_CLOSED:
        return CredentialsRejected(_BAD_TOKEN)
    if code == _TOO_FEW_SHARDS:
        return CredentialsRejected(
            "Discord asks for more shards: raise DISCORD_SHARDS, or leave it unset, in all processes"
        )
    if code in _FATAL_CLOSES:
        return CredentialsRejected(f"Discord's gateway refuses the bot of DISCORD_TOKEN: close code {code}")
    return Unreachable(f"Discord's gateway closed with code {code}")


def _from_http_error(error: discord.HTTPException) -> PlatformError:
    if error.status == 401 and error.code == _INTERACTION_ENDED:
        return Refused(f"Discord refused: {error}")
    if error.status == 401:
        return CredentialsRejected(_BAD_TOKEN)
    if error.status == 429:
        return RateLimited("Discord's rate limit is reached", _retry_after(error))
    if error.status >= 500:
        return Unreachable(f"Discord failed: {error}")
    kinds: dict[int, type[PlatformError]] = {_THREAD_ARCHIVED: ThreadArchived, _THREAD_LOCKED: ThreadLocked}
    kind = kinds.get(error.code, Undeliverable if error.code in _HOPELESS else Refused)
    return kind(f"Discord refused: {error}")


def _retry_after(error: discord.HTTPException) -> float:
    try:
        return float(error.response.headers.get("Retry-After", _BAN_SECONDS))
    except ValueError:
        return _BAN_SECONDS


def code_of(error: Exception) -> int:
    """Return Discord's code of the refusal behind an error; 0 if there is none."""
    cause = error.__cause__
    return cause.code if isinstance(cause, discord.HTTPException) else 0


def reason(error: Exception) -> str:
    """Return the reason for a user why nothing can be shown in a place."""
    return (
        texts.THREAD_LOCKED
        if isinstance(error, ThreadLocked)
        else _REASONS.get(code_of(error), texts.MESSAGES_REFUSED)
    )
