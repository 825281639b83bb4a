"""Sentences that only Discord's users read."""

from collections.abc import Sequence
from datetime import datetime

QUESTION = "Question"
"""Name of a thread whose question has no words, if its author has no name either."""


def question_from(name: str) -> str:
    """Return the name of a thread whose question has no words, such as a file."""
    return f"Question from {name}"


_ADMINISTRATOR = "Please ask an administrator of the server"

CHANNEL_DELETED = "the channel was deleted."
CHANNEL_HIDDEN = f"I can no longer see the channel. {_ADMINISTRATOR} to give me access."
NO_PERMISSION = f"I do not have permission to write there. {_ADMINISTRATOR} for it."
THREAD_LOCKED = "the thread is locked. Please ask me again elsewhere, or ask a moderator to open it."
TOO_MANY_THREADS = (
    "the server has as many open threads as Discord allows. Please ask me again in a channel, or ask a "
    "moderator to archive some threads."
)
MESSAGES_REFUSED = "Discord does not accept my messages there. Please ask me again in another channel."
"""Reasons why an answer cannot be shown in a channel."""


def permissions_missing(titles: Sequence[str], channel: str) -> str:
    """Return the reason for an answer that permissions prevent, by their titles in Discord's settings."""
    named = " and ".join(f"*{each}*" for each in titles)
    noun = "permission" if len(titles) == 1 else "permissions"
    return f"I lack the {noun} {named} in {channel}. {_ADMINISTRATOR} to give it to my role there."


def answered_here(thread: str) -> str:
    """Return the sentence before an answer that comes in direct messages, because its thread is locked."""
    return f"The thread {thread} is locked, so that I cannot write there. This is my answer:"


def delayed(channel: str, seconds: float) -> str:
    """Return the sentence for an answer that a rate limit of the channel delays."""
    minutes = max(1, round(seconds / 60))
    wait = f"{minutes} minute{'s' if minutes > 1 else ''}"
    return (
        f"Discord lets me write in {channel} again in {wait}: slow mode or a rate limit holds me back. "
        "My answer comes there then; you need not ask again."
    )


FORUM_POST = "the title of the forum post that this message is in"
"""Source of the quote, as in `Quote`."""


def tags(names: str) -> str:
    """Return the line about the tags of a forum post."""
    return f"[tags: {names}]"


NO_HISTORY = (
    "I lack the permission Read Message History there; an administrator of the server can give it to me"
)
"""Reason why earlier messages cannot be read: it completes `not_read`."""

REST_REFUSED = "Discord does not accept it."
"""Reason why the rest of an answer cannot be shown."""

FILE_FORBIDDEN = f"I lack the permission *Attach Files* here. {_ADMINISTRATOR} to give it to my role."
FILE_TOO_LARGE = "it is larger than Discord takes here. Please ask me for a smaller one."
STORAGE_DOWN = "Redis unavailable"
MODEL_DOWN = "Language model unavailable"
"""Presence of the bot while it cannot answer."""


def rate_limited(until: datetime) -> str:
    """Return the presence while the model service takes no more requests."""
    return f"Rate limited until {until:%H:%M} UTC"


FORM_LOST = "I was restarted while this form was open, and cannot take it. Please open it again."
BUTTON_LOST = "This is from another version of me, and I do not know it. Please ask me again."
"""Answers to a form from before a restart, and to a button of another version."""

FILE_REFUSED = (
    "Discord does not accept it here. It may be too large for this server, or I lack the permission Attach "
    f"Files. {_ADMINISTRATOR} for help."
)
