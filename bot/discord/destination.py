"""Destination of an answer. Pure."""

from dataclasses import dataclass

from bot.chat import Message, Turn
from bot.discord.events import NO_THREADS


@dataclass(frozen=True, slots=True)
class Destination:
    """Channel, thread or direct message; with `reply_to`, replies to that message."""

    channel: int
    reply_to: int | None = None


def known_destination(turn: Turn) -> Destination | None:
    """Return the destination of a turn that needs no new thread; None if one should be started."""
    for message in turn.messages:
        if message.place["kind"] != "channel":
            return Destination(int(message.channel))
    starter = starter_message(turn)
    return None if starter and NO_THREADS not in starter.place else in_channel(turn)


def starter_message(turn: Turn) -> Message | None:
    """Return the message that began the conversation, if this turn has it: it can start a thread."""
    return next((each for each in turn.messages if each.place["message"] == turn.thread.channel), None)


def in_channel(turn: Turn) -> Destination:
    """Return the destination in a channel without threads: replies to the conversation's first message.

    `events.parse_message` assigns later replies to the conversation by that message.
    """
    return Destination(int(turn.messages[-1].channel), reply_to=int(turn.thread.channel))


def elsewhere(turn: Turn, destination: Destination) -> list[Destination]:
    """Return places in the server to notify the author in, if `destination` takes no messages.

    Readers of its parent are not told of a private thread.
    """
    question = turn.messages[-1]
    channel, parent = int(question.channel), question.parent
    if channel != destination.channel:  # the question started a thread
        return [Destination(channel, reply_to=int(question.place["message"]))]
    return [Destination(int(parent))] if parent and not question.is_private_thread else []
