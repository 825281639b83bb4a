"""The names of the inbox's keys; what they hold is told in `bot.inbox.scripts`."""

import hashlib

TAG = "{bot}"
READY, LATER, ACTIVE, DEAD, HUNG, LEFT = (
    f"{TAG}:{name}" for name in ("ready", "later", "active", "dead", "hung", "left")
)
GROUP = "workers"


def seen(message_id: str) -> str:
    """What is known of a message that was taken."""
    return f"{TAG}:seen:{message_id}"


def decision(request: str) -> str:
    """The id of the message that a decision becomes; the scripts know it by its beginning."""
    return f"decision:{request}"


def joined(thread: str) -> str:
    """Whether the bot takes part in a thread."""
    return f"{TAG}:joined:{thread}"


def early(thread: str) -> str:
    """Messages that came before the one that makes the bot take part."""
    return f"{TAG}:early:{thread}"


def threads(platform: str) -> str:
    """The threads in which the bot takes part."""
    return f"{TAG}:threads:{platform}"


def mailbox(thread: str) -> str:
    """The order of a thread's messages."""
    return f"{TAG}:mailbox:{thread}"


def messages(thread: str) -> str:
    """The messages of a mailbox."""
    return f"{TAG}:messages:{thread}"


def paused(thread: str) -> str:
    """Who holds a thread that has no turn."""
    return f"{TAG}:paused:{thread}"


def turn(turn_id: str) -> str:
    """What is known of a turn."""
    return f"{TAG}:turn:{turn_id}"


def starts(name: str) -> str:
    """How often the process of that name has begun to work."""
    return f"{TAG}:starts:{name}"


def news(topic: str) -> str:
    """The channel on which scripts publish."""
    return f"{TAG}:news:{topic}"


def left(thread: str) -> str:
    """The member of `LEFT` that stands for a thread: it does not tell whose the thread was."""
    return hashlib.sha256(thread.encode()).hexdigest()


def text(value: bytes | str) -> str:
    """What Redis gives, as text."""
    return value.decode() if isinstance(value, bytes) else value
