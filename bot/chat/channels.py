"""Settings of one channel: what the bot is for there, and when it speaks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from bot.chat.events import Json, Message

FollowUp = Literal["always", "partner", "mention"]
"""Policy for messages in a joined thread that do not mention the bot: answer all of them; those of one single
user who talks with it; none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """Settings that hold in a channel, its threads included.

    `instructions` are for the model, `model` is the one that answers, empty for the deployment's, and `tools`
    are the names of those that it can use, None for all.
    """

    instructions: str = ""
    follow_up: FollowUp = "partner"
    model: str = ""
    tools: frozenset[str] | None = None


ChannelSetting = Literal["instructions", "follow_up", "model", "tools"]

CHANNEL_SETTINGS: Sequence[ChannelSetting] = get_args(ChannelSetting)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelChange:
    """Last change of one setting: its value (of `tools` a list), and who made it (`by`, an author as in
    `Message`, with their name) at what time (Unix seconds)."""

    value: Json
    by: str
    by_name: str
    at: float


class Channels(Protocol):
    """Settings of all channels."""

    def settings_of(self, message: Message) -> ChannelSettings:
        """Return the settings for the place of a message, from the memory of this process."""


@dataclass(frozen=True, slots=True)
class SameEverywhere:
    """`Channels` with the same settings in each."""

    settings: ChannelSettings = ChannelSettings()

    def settings_of(self, message: Message) -> ChannelSettings:
        """Return the settings."""
        return self.settings


SAME_EVERYWHERE = SameEverywhere()
"""`Channels` without settings of their own."""
