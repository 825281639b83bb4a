"""Parser of the line protocol: bytes in, messages out. Pure."""

import re

from bot.chat import Message, ThreadId

_HELLO = re.compile(rb"hello ([a-z][a-z0-9_]{0,31})\r?\n")
_MESSAGE = re.compile(rb"([0-9]{1,12}) ([^\r\n]+)\r?\n")


def user_in(line: bytes) -> str | None:
    """Return the user who says hello; None when this is not a hello."""
    hello = _HELLO.fullmatch(line)
    return hello[1].decode() if hello else None


def parse(user: str, line: bytes, at: float) -> Message | None:
    """Return what a user writes to the bot at a time (Unix seconds); None when this is not a message.

    The id is the same when the line is sent again. A user has one conversation, which nobody else reads.
    """
    found = _MESSAGE.fullmatch(line)
    if not found:
        return None
    number = found[1].decode()
    return Message(
        id=f"lines:{user}:{number}",
        thread=ThreadId("lines", "local", user),
        author=f"lines:{user}",
        author_name=user,
        text=found[2].decode("utf-8", "replace"),
        sent_at=at,
        addressed=True,
        direct=True,
        channel=user,
        place={"user": user, "number": number},
    )
