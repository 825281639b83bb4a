"""Allow-lists: users who can talk to the bot, places where it answers, and its administrators."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Literal

from bot.access import texts
from bot.access.origin import scopes_of
from bot.chat import Admit, Ignore, Message, Refuse, Turn, hook_of

External = Literal["no", "chat", "all"]


@dataclass(frozen=True, slots=True)
class AllowList:
    """The allow-lists. Ids are `<platform>:<id>`; a list that is empty allows all.

    A message is answered when its author *and* its space *and* its channel are allowed. A user is allowed by
    `users` *or* by `roles`, another bot by `bots` alone. Direct messages are in no channel; on Discord they
    are the space `discord:dm`, and nobody has a role there. `slack:*` stands for all spaces of the platform.
    `external` is the value of ALLOW_EXTERNAL.
    `hooks` are the authors that HOOKS allows, and whether each can use all tools.
    """

    admins: Set[str] = frozenset()
    users: Set[str] = frozenset()
    channels: Set[str] = frozenset()
    spaces: Set[str] = frozenset()
    roles: Set[str] = frozenset()
    bots: Set[str] = frozenset()
    external: External = "no"
    hooks: Mapping[str, bool] = field(default_factory=dict)

    async def check(self, message: Message) -> Admit | Refuse | Ignore:
        """Decide whether a message is answered, by its author and place alone.

        Other bots are ignored rather than refused, since a refusal would start a conversation with them. So
        are messages that are not addressed to the bot.
        """
        sentence = self._refusal(message)
        if sentence is None:
            return Admit()
        return Ignore() if message.bot_ids or not message.addressed else Refuse(sentence)

    def _refusal(self, message: Message) -> str | None:
        if not self._may_talk(message):
            return texts.user_not_allowed(has_roles=bool(self.roles), direct=message.direct)
        if not self._is_allowed_space(scopes_of(message).space):
            return texts.DIRECT_NOT_ALLOWED if message.direct else texts.SPACE_NOT_ALLOWED
        if message.author_space and not self._is_allowed_space(message.author_space):
            return texts.ORGANISATION_NOT_ALLOWED
        if message.is_external and self.external == "no":
            return texts.EXTERNAL_NOT_ALLOWED
        if self.channels and not message.direct and not self._is_allowed_channel(message):
            return texts.CHANNEL_NOT_ALLOWED
        return None

    def _may_talk(self, message: Message) -> bool:
        if message.author in self.hooks:
            return True
        if message.bot_ids:
            return not self.bots.isdisjoint(message.bot_ids)
        if not (self.users or self.roles):
            return True
        return message.author in self.users | self.admins or not self.roles.isdisjoint(message.roles)

    def _is_allowed_space(self, space: str) -> bool:
        every = f"{space.partition(':')[0]}:*"
        return not self.spaces or space in self.spaces or every in self.spaces

    def _is_allowed_channel(self, message: Message) -> bool:
        # a Discord thread is a separate channel: its parent counts as well
        ids = {message.thread.channel, message.channel, message.parent}
        return any(f"{message.thread.platform}:{each}" in self.channels for each in ids if each)

    def is_restricted(self, turn: Turn) -> bool:
        """Return whether an external user or a hook takes part in a turn, which then has only open tools."""
        return any(map(self._has_only_open_tools, turn.messages))

    def _has_only_open_tools(self, message: Message) -> bool:
        if (message.bot_ids or message.regenerates) and (hook := hook_of(message)):
            return not self.hooks.get(hook)
        return self.external != "all" and message.is_external

    def is_admin(self, user: str) -> bool:
        """Return whether a user is an administrator."""
        return user in self.admins
