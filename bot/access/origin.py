"""Whose message it is: the user, the channel and the space that allow-lists, rates and budgets name. Pure.

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
    """A thread of Discord belongs to the channel it was made in; a platform without channels is one."""
    platform = message.thread.platform
    channel = message.parent or message.channel or message.thread.space
    return Scopes(message.author, f"{platform}:{channel}", f"{platform}:{message.thread.space}")
