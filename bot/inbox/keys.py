"""Names of the inbox's Redis keys.

`bot.inbox.scripts` describes their contents; `./dev run inbox show` reads those about one message.
"""

import hashlib

TAG = "{bot}"
READY, LATER, ACTIVE, DEAD, HUNG, LEFT = (
    f"{TAG}:{name}" for name in ("ready", "later", "active", "dead", "hung", "left")
)
GROUP = "workers"


def seen(message_id: str) -> str:
    """Return the key of a stored message's metadata."""
    return f"{TAG}:seen:{message_id}"


def decision(request: str) -> str:
    """Return the message id of a decision; the scripts recognise its prefix."""
    return f"decision:{request}"


def ordered(answer: str) -> str:
    """Return the key of the newest order to regenerate an answer."""
    return f"{TAG}:ordered:{answer}"


def joined(thread: str) -> str:
    """Return the key that exists while the bot takes part in a thread."""
    return f"{TAG}:joined:{thread}"


def partner(thread: str) -> str:
    """Return the key of the user whom the bot follows in a thread."""
    return f"{TAG}:partner:{thread}"


def early(thread: str) -> str:
    """Return the key of messages that arrived before the mention that joins their thread."""
    return f"{TAG}:early:{thread}"


def stops(thread: str) -> str:
    """Return the key of the latest stops of a thread, which may have arrived before what they stop."""
    return f"{TAG}:stops:{thread}"


def asked(thread: str) -> str:
    """Return the key of those whose next message in a thread answers a question, also without a mention."""
    return f"{TAG}:asked:{thread}"


def threads(platform: str) -> str:
    """Return the key of a platform's joined threads."""
    return f"{TAG}:threads:{platform}"


def mailbox(thread: str) -> str:
    """Return the key of a thread's message ids, in order."""
    return f"{TAG}:mailbox:{thread}"


def messages(thread: str) -> str:
    """Return the key of a thread's messages by id."""
    return f"{TAG}:messages:{thread}"


def paused(thread: str) -> str:
    """Return the key of the token that pauses a thread."""
    return f"{TAG}:paused:{thread}"


def turn(turn_id: str) -> str:
    """Return the key of a turn's state."""
    return f"{TAG}:turn:{turn_id}"


def starts(name: str) -> str:
    """Return the key of a process's start counter."""
    return f"{TAG}:starts:{name}"


def news(topic: str) -> str:
    """The channel on which scripts publish."""
    return f"{TAG}:news:{topic}"


def left(thread: str) -> str:
    """Return a thread's member in `LEFT`: a digest, which does not reveal whose thread it was."""
    return hashlib.sha256(thread.encode()).hexdigest()


def text(value: bytes | str) -> str:
    """Decode a value from Redis."""
    return value.decode() if isinstance(value, bytes) else value
