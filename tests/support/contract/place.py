"""Place of a story: one platform with a bot that runs, and the users Alice and Bob."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from redis.asyncio import Redis

from bot.inbox import keys
from tests.servers.model import ModelServer
from tests.support.contract.running_bot import RunningBot
from tests.support.stages import wait_until_idle
from tests.support.table import Shelf
from tests.support.wait import wait_until

Name = Literal["alice", "bob"]
"""Users: Bob is an administrator and approves changes."""

Sent = tuple[str, str, bytes]
"""File of a user: name, media type, content."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Message of the bot as its readers see it, with the steps of its answer.

    `earlier` are its former texts; `pings` are users, or `everyone`, who were notified. A chart that the
    platform draws is a file without a name.
    """

    id: str
    text: str
    earlier: Sequence[str]
    buttons: Sequence[str]
    files: Sequence[str]
    pings: Sequence[str]


class Place(Protocol):
    """Conversations with the bot on one platform, one after the other.

    `ask`, `direct` and `talk` begin one; all other methods are about the newest.
    """

    mention: str
    model: ModelServer
    redis: Redis
    shelf: Shelf
    bot: RunningBot

    async def connect(self) -> None:
        """Wait until the bot hears what is said."""

    async def ask(self, text: str, who: Name = "alice", files: Sequence[Sent] = ()) -> str:
        """Mention the bot in a channel; return the id of the message, as that of each other text."""

    async def direct(self, text: str) -> str:
        """Write to the bot in direct messages as Alice."""

    async def talk(self, who: Name, text: str) -> str:
        """Write in a channel to nobody."""

    async def say(self, who: Name, text: str) -> str:
        """Write in the conversation."""

    def edit(self, id: str, text: str) -> None:
        """Change a message as its author."""

    def remove(self, id: str) -> None:
        """Delete a message as its author."""

    def shown(self) -> Sequence[Shown]:
        """Return the bot's messages in the conversation, the oldest first."""

    def is_in_thread(self) -> bool:
        """Return whether the conversation is a thread of a channel."""

    async def press(self, who: Name, label: str) -> str:
        """Press a button or choose an option of the newest message that has it; return the private answer."""

    async def vote(self, who: Name, is_good: bool) -> None:
        """Press a feedback button of the newest answer."""

    async def give_reason(self, who: Name, reason: str) -> None:
        """Submit the form that the last vote has opened."""

    async def command(self, who: Name, name: str, verb: str = "", **options: str) -> str:
        """Use a slash command, named without `/agent-`; return the private answer."""

    async def is_refused(self, who: Name, name: str, verb: str = "", **options: str) -> bool:
        """Return whether a user cannot use a slash command that is for administrators."""

    async def ask_about(self, who: Name, id: str, question: str) -> None:
        """Ask a question from the menu of a message."""


async def answer(place: Place, *words: str) -> Shown:
    """Wait until nothing is being answered and a message has these words; return the newest that has them."""

    def found() -> list[Shown]:
        return [shown for shown in place.shown() if all(each in shown.text for each in words)]

    try:
        await wait_until(lambda: found() != [], f"the bot shows {words}", timeout=15)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{place.shown()}") from None
    await wait_until_idle(place.redis)
    return found()[-1]


async def passed_over(place: Place, id: str) -> None:
    """Wait until the inbox has decided not to answer a message."""

    async def is_passed_over() -> bool:
        return bool(await place.redis.hexists(keys.seen(id), "silent"))

    await wait_until(is_passed_over, f"{id} is passed over")


def asked_of(place: Place, request: int = -1) -> str:
    """Return all texts of a request to the model."""
    return "\n".join(str(each.get("content") or "") for each in place.model.requests[request]["messages"])
