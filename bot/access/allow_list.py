"""Allow-lists: users who can talk to the bot, places where it answers, and its administrators."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from bot.access.origin import scopes_of
from bot.chat import Admit, Ignore, Message, Refuse, Turn

External = Literal["no", "chat", "all"]


@dataclass(frozen=True, slots=True)
class Access:
    """The allow-lists. Ids are `<platform>:<id>`; a list that is empty allows all.

    A message is answered when its author *and* its space *and* its channel are allowed. A person is allowed
    by `users` *or* by `roles`, another bot by `bots` alone. Direct messages are in no channel; on Discord
    they are the space `discord:dm`, and nobody has a role there. `external` is ALLOW_EXTERNAL: what users of
    other organisations and guests can do.
    """

    admins: Set[str] = frozenset()
    users: Set[str] = frozenset()
    channels: Set[str] = frozenset()
    spaces: Set[str] = frozenset()
    roles: Set[str] = frozenset()
    bots: Set[str] = frozenset()
    external: External = "no"

    async def check(self, message: Message) -> Admit | Refuse | Ignore:
        """Decide whether a message is answered, by its author and place alone.

        To tell a bot anything would begin a conversation with it, and what users say to each other in a
        thread that the bot has joined asks nothing of it: there a refusal is not told.
        """
        sentence = self._refusal(message)
        if sentence is None:
            return Admit()
        return Ignore() if message.bot_ids or not message.addressed else Refuse(sentence)

    def _refusal(self, message: Message) -> str | None:
        if not self._may_talk(message):
            return f"I may not talk with you here. Ask the bot's operator to {self._admission(message)}."
        if self.spaces and scopes_of(message).space not in self.spaces:
            where = "in direct messages" if message.direct else "in this workspace or server"
            return f"I may not answer {where}. Ask the bot's operator to add it to ALLOWED_SPACES."
        if self.spaces and message.author_space and message.author_space not in self.spaces:
            return (
                "I may not answer people from other organisations here. Ask the bot's operator to add yours "
                "to ALLOWED_SPACES."
            )
        if message.is_external and self.external == "no":
            return (
                "I may not answer people from other organisations, or guests. Ask the bot's operator to "
                "change ALLOW_EXTERNAL."
            )
        if self.channels and not message.direct and not self._is_allowed_channel(message):
            return "I may not answer in this channel. Ask the bot's operator to add it to ALLOWED_CHANNELS."
        return None

    def _may_talk(self, message: Message) -> bool:
        if message.bot_ids:
            return not self.bots.isdisjoint(message.bot_ids)
        if not (self.users or self.roles):
            return True
        return message.author in self.users | self.admins or not self.roles.isdisjoint(message.roles)

    def _admission(self, message: Message) -> str:
        if not self.roles:
            return "add you to ALLOWED_USERS"
        if message.direct:
            return "add you to ALLOWED_USERS, or write to me where you have a role: here nobody has one"
        return "add you to ALLOWED_USERS, or for a role of ALLOWED_ROLES"

    def _is_allowed_channel(self, message: Message) -> bool:
        # a Discord thread is a channel of its own: its parent counts as well
        ids = {message.thread.channel, message.channel, message.parent}
        return any(f"{message.thread.platform}:{each}" in self.channels for each in ids if each)

    def is_limited(self, turn: Turn) -> bool:
        """Tell if an external person takes part in a turn, which then has only the tools for everybody."""
        return self.external != "all" and any(message.is_external for message in turn.messages)

    def is_admin(self, user: str) -> bool:
        """Return whether a user is an administrator."""
        return user in self.admins
