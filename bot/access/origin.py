"""Origin of a message: the user, channel and space that allow-lists, rate limits and budgets refer to. Pure.

A scope is written `<platform>:<id>`, as in the settings.
"""

from dataclasses import dataclass

from bot.chat import Message


@dataclass(frozen=True, slots=True)
class Scopes:
    """The user, the channel and the space (Slack's workspace, Discord's guild) of a message."""

    user: str
    channel: str
    space: str


def scopes_of(message: Message) -> Scopes:
    """Return the scopes of a message; a thread on Discord belongs to its parent channel.

    A platform without channels counts as one channel.
    """
    platform = message.thread.platform
    channel = message.parent or message.channel or message.thread.space
    return Scopes(message.author, f"{platform}:{channel}", f"{platform}:{message.thread.space}")
