"""Hooks: senders outside of the chat services, whose deliveries the bot posts into a channel."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.chat.events import Message, ThreadId

_AUTHOR = "http:hook:"
"""Beginning of a hook as an author; no caller over HTTP has a name with `hook:`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Hook of the setting HOOKS; `channel` is `<platform>:<id>`.

    With `instructions` the agent is asked about each delivery; with `has_all_tools` it can use all tools.
    """

    name: str
    channel: str
    secret: str = field(repr=False)
    instructions: str = ""
    has_all_tools: bool = False

    @property
    def author(self) -> str:
        """Return the hook as an author, as in `Message`."""
        return f"{_AUTHOR}{self.name}"


def is_hook(author: str) -> bool:
    """Return whether an author is a hook."""
    return author.startswith(_AUTHOR)


def hook_of(message: Message) -> str:
    """Return the hook that asks, also where a user orders another answer; an empty string for others."""
    if is_hook(message.author):
        return message.author
    return ":".join(message.regenerates.split(":")[:3]) if is_hook(message.regenerates) else ""


@dataclass(frozen=True, slots=True)
class Announcement:
    """Message that begins a conversation in a channel: Markdown, and a line below it that is unique."""

    text: str
    footer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Place below an announcement; the fields are those of a `Message` that is answered there."""

    thread: ThreadId
    sent_at: float
    channel: str
    place: Mapping[str, str]
    parent: str = ""
    is_private_thread: bool = False

    def message(self, delivery: Message, instructions: str) -> Message:
        """Return the message with which a hook asks the agent about a delivery; it quotes the delivery."""
        return Message(
            id=f"{delivery.id}:asked",
            thread=self.thread,
            author=delivery.author,
            author_name=delivery.author_name,
            text=instructions,
            sent_at=self.sent_at,
            addressed=True,
            channel=self.channel,
            parent=self.parent,
            is_private_thread=self.is_private_thread,
            place=self.place,
            bot_ids=delivery.bot_ids,
            quotes=delivery.quotes,
        )
