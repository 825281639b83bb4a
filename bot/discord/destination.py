"""Where an answer goes. Pure."""

import re
from dataclasses import dataclass

from bot.chat import Message, Turn

_THREAD_NAME = 80  # characters of the 100 that Discord takes; more is cut off on screen
_NO_NAME = "Conversation"
_MARKUP = re.compile(r"[*_`~|#>\[\]]+")


@dataclass(frozen=True, slots=True)
class Destination:
    """A channel, thread or direct message; with `reply_to`, as replies to that message."""

    channel: int
    reply_to: int | None = None


def settled(turn: Turn) -> Destination | None:
    """The place of a turn for which no thread has to be made, None when one should be tried."""
    for message in turn.messages:
        if message.place["kind"] != "channel":
            return Destination(int(message.channel))
    return None if opening(turn) else in_channel(turn)


def opening(turn: Turn) -> Message | None:
    """The message that began the conversation, if this turn has it: a thread can be made from it."""
    return next((each for each in turn.messages if each.place["message"] == turn.thread.channel), None)


def in_channel(turn: Turn) -> Destination:
    """The place where no thread can be: replies to the message that began the conversation.

    Later replies to the bot are told apart by that, see `events.parse_message`.
    """
    return Destination(int(turn.messages[-1].channel), reply_to=int(turn.thread.channel))


def elsewhere(turn: Turn, destination: Destination) -> list[Destination]:
    """Return the places in the server where the author can be told that `destination` takes nothing."""
    question = turn.messages[-1]
    channel, parent = int(question.channel), question.parent
    if channel != destination.channel:  # a thread was made from the question
        return [Destination(channel, reply_to=int(question.place["message"]))]
    return [Destination(int(parent))] if parent else []


def thread_name(question: str) -> str:
    """The first words of a question, as a thread's name of 1 to 100 characters."""
    words = _MARKUP.sub("", question).split()
    name = " ".join(words)
    if len(name) > _THREAD_NAME:
        name = name[:_THREAD_NAME].rsplit(" ", 1)[0] + "…"
    return name or _NO_NAME
