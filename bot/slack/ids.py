"""Ids of users and channels, as settings, limits and budgets know them.

Slack promises ids that are unique in one workspace only. So where the bot is in several, they name it:
`slack:T012AB/U012AB`. Else they do not: `slack:U012AB`.
"""

from dataclasses import dataclass, replace

from bot.chat import Correction, Deliver, Event, Message, Stop

_PLATFORM = "slack:"


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids of one workspace; `team` is empty if it is the only one."""

    team: str = ""

    def user(self, id: str) -> str:
        """Return a user, as in ADMIN_USERS."""
        return f"{_PLATFORM}{self.own(id)}"

    def channel(self, id: str) -> str:
        """Return a channel, as in ALLOWED_CHANNELS."""
        return f"{_PLATFORM}{self.own(id)}"

    def add_to(self, deliver: Deliver) -> Deliver:
        """Return a `deliver` that first gives the user and the channel of an event their names."""

        async def deliver_with_ids(event: Event) -> None:
            match event:
                case Message():
                    event = self.of_message(event)
                case Correction():
                    event = replace(event, message=self.of_message(event.message))
                case Stop():
                    event = replace(event, by=self.user(own_id(event.by)))
            await deliver(event)

        return deliver_with_ids if self.team else deliver

    def of_message(self, message: Message) -> Message:
        """Return a message with the names of its author and channel."""
        if not self.team:
            return message
        author = self.user(own_id(message.author))
        return replace(message, author=author, channel=self.own(message.thread.channel))

    def own(self, id: str) -> str:
        """Return the name of an id without the platform."""
        return f"{self.team}/{id}" if self.team else id


def own_id(name: str) -> str:
    """Return Slack's id in the name of a user or a channel."""
    return name.removeprefix(_PLATFORM).rpartition("/")[2]


def team_in(name: str) -> str:
    """Return the workspace in the name of a user or a channel; nothing if it names none."""
    return name.removeprefix(_PLATFORM).rpartition("/")[0]
