"""Reading of a message's context: passages side by side, and a sentence for each that cannot be read."""

import asyncio
import logging
import re
import unicodedata
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bot.chat import (
    Context,
    CredentialsRejected,
    Passage,
    PlatformError,
    RateLimited,
    ReadingRefused,
    Undeliverable,
)
from bot.chat.text import is_invisible, one_line, shorten, unnamed_user
from bot.platforms import texts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PassageReading:
    """Passage to be read; `name` is what the sentence calls it if that fails.

    `is_own`: it is the conversation of the message, which is read again later if that fails.
    """

    name: str
    passage: Awaitable[Passage]
    is_own: bool = False


async def read_passages(readings: Sequence[PassageReading], platform: str, seconds: float) -> Context:
    """Return the passages, each read within `seconds`; `platform` is the title of the service."""
    found = await asyncio.gather(*(_read(each, platform, seconds) for each in readings))
    problems = [each for each in found if isinstance(each, _Problem)]
    return Context(
        passages=tuple(each for each in found if isinstance(each, Passage) and each.messages),
        problems=tuple(dict.fromkeys(each.sentence for each in problems)),
        refusal=next((each.sentence for each in problems if each.is_own and each.is_lasting), ""),
        is_unread=any(each.is_own for each in problems),
    )


@dataclass(frozen=True, slots=True)
class _Problem:
    """Sentence about a passage that cannot be read; `is_lasting` if another try would only repeat it."""

    sentence: str
    is_own: bool
    is_lasting: bool


async def _read(reading: PassageReading, platform: str, seconds: float) -> Passage | _Problem:
    try:
        async with asyncio.timeout(seconds):
            return await reading.passage
    except ReadingRefused as error:
        reason, is_lasting = str(error), True
    except (PlatformError, TimeoutError) as error:
        log.warning("context not read", extra={"error": repr(error)})
        reason, is_lasting = _reason(error, platform), isinstance(error, CredentialsRejected | Undeliverable)
    return _Problem(texts.not_read(reading.name, reason), reading.is_own, is_lasting)


def _reason(error: PlatformError | TimeoutError, platform: str) -> str:
    match error:
        case RateLimited():
            return texts.busy(platform)
        case CredentialsRejected():
            return texts.NOT_ALLOWED
        case Undeliverable():
            return texts.MESSAGES_GONE
        case _:
            return texts.silent(platform)


_COLONS = str.maketrans(dict.fromkeys(":\u02f8\u2236\ua789\ufe13\ufe55\uff1a", " "))
"""Characters that look like the one between an author and their words."""

_LIKE_OURS = re.compile(r"[\W_]*you(?![^\W_])", re.IGNORECASE)


@lru_cache(200)  # few users write the many messages of a conversation
def name_of_other(name: str, account: str) -> str:
    """Return the name of a user who is not the bot, which earlier messages call "you".

    A user without one is named by their account, which is as `author` in `bot.chat.Message`.
    """
    line = one_line(name.translate(_COLONS))
    letters = unicodedata.normalize("NFKC", line)
    # with and without a blank for what a model or a reader does not see
    seen = ["".join(blank if is_invisible(each) else each for each in letters) for blank in ("", " ")]
    if not seen[0].strip():
        return unnamed_user(account)
    return f"{shorten(line, 60)} (a user)" if any(map(_LIKE_OURS.match, seen)) else line
