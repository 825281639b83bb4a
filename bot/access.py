"""Who may talk to the bot, and who may run its operations."""

from collections.abc import Set
from dataclasses import dataclass

from bot.chat import Message


@dataclass(frozen=True, slots=True)
class Access:
    """The allow-lists. Ids are `<platform>:<id>`; an empty set of users or channels allows all."""

    admins: Set[str]
    users: Set[str]
    channels: Set[str]

    async def refusal(self, message: Message) -> str | None:
        """Why `message` is not answered, as a sentence for its author; None when it is."""
        if self.users and message.author not in self.users | self.admins:
            return "I may not talk with you here. Ask the bot's operator to add you to ALLOWED_USERS."
        if self.channels and not message.direct and not self._is_allowed_channel(message):
            return "I may not answer in this channel. Ask the bot's operator to add it to ALLOWED_CHANNELS."
        return None

    def _is_allowed_channel(self, message: Message) -> bool:
        # a Discord thread is a channel of its own: its parent counts as well
        ids = {message.thread.channel, message.place.get("channel"), message.place.get("parent")}
        return any(f"{message.thread.platform}:{each}" in self.channels for each in ids if each)

    def is_admin(self, user: str) -> bool:
        """Whether `user` may run operations."""
        return user in self.admins
