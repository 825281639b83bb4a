"""Question of the agent as users see and answer it, alike on Slack and on Discord."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tests.servers.discord.service import Discord
from tests.servers.discord.service import Message as DiscordMessage
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, BOB, GENERAL
from tests.support.threads import DiscordThread, SlackThread
from tests.support.wait import wait_until

SIGN = "❓"
FRUIT = ("Apples", "Pears")


def asking(question: str = "Which **fruit**?", options: Sequence[str] = FRUIT, **more: Any) -> Script:
    """Return an answer of the model that asks the user."""
    arguments = {"question": question, **({"options": list(options)} if options else {}), **more}
    return Script(tool_calls=[("ask_user", arguments)])


def last_message(model: ModelServer) -> dict[str, Any]:
    """Return the newest message of the newest request to the model."""
    newest: dict[str, Any] = model.requests[-1]["messages"][-1]
    return newest


class Room(Protocol):
    """Thread in which Alice asks the bot, and the bot asks her."""

    platform: str
    settings: Mapping[str, Any]
    mentions: Mapping[str, str]
    """Users by name, as the platform mentions them."""

    async def connect(self) -> None:
        """Wait until the bot is connected."""

    async def ask(self, text: str) -> None:
        """Mention the bot as Alice, in a channel."""

    async def say(self, user: str, text: str) -> None:
        """Write in the thread; where the platform may deliver a message twice, it does."""

    def edit(self, text: str) -> None:
        """Edit the message that has mentioned the bot."""

    def remove(self) -> None:
        """Delete the message that has mentioned the bot."""

    def forms(self) -> Sequence[str]:
        """Return the texts of the questions that are or were asked."""

    def options(self) -> Sequence[str]:
        """Return the options of the newest question; none once it is over."""

    async def press(self, user: str, option: int) -> str:
        """Choose an option of the newest question; return what only this user then reads."""

    def transcript(self) -> str:
        """Return all texts of the bot in the thread."""


async def asked(room: Room, number: int = 1) -> None:
    """Wait until so many questions are shown."""
    await wait_until(lambda: len(room.forms()) == number, "a question is shown")


async def told(room: Room, text: str) -> None:
    """Wait until the bot says a text in the thread."""
    await wait_until(lambda: text in room.transcript(), f"{text!r} is said")


class SlackRoom(SlackThread):
    """Thread in a channel of Slack."""

    mentions: Mapping[str, str] = {"alice": f"<@{ALICE}>", "bob": f"<@{BOB}>"}

    async def say(self, user: str, text: str) -> None:
        await self.slack.say(self._users[user], GENERAL, text, thread_ts=self.root, copies=2)

    def edit(self, text: str) -> None:
        self.slack.edit(GENERAL, self.root, f"{self.slack.mention} {text}")

    def remove(self) -> None:
        self.slack.remove(GENERAL, self.root)

    def _forms(self) -> list[Any]:
        return [each for each in self.messages() if SIGN in str(each.blocks)]

    def forms(self) -> Sequence[str]:
        return [each.visible_text for each in self._forms()]

    def _elements(self) -> list[dict[str, Any]]:
        blocks = self._forms()[-1].blocks
        return [each for block in blocks if block["type"] == "actions" for each in block["elements"]]

    def options(self) -> Sequence[str]:
        elements = self._elements()
        if elements and elements[0]["type"] == "static_select":
            elements = elements[0]["options"]
        return [each["text"]["text"] for each in elements]

    async def press(self, user: str, option: int) -> str:
        before, elements = len(self._private(user)), self._elements()
        menu = elements[0] if elements[0]["type"] == "static_select" else None
        name = menu["action_id"] if menu else elements[option]["action_id"]
        value = menu["options"][option]["value"] if menu else None
        await self.slack.press(self._users[user], GENERAL, self._forms()[-1].ts, name, value)
        await wait_until(lambda: len(self._private(user)) > before, "the press is answered")
        return self._private(user)[before]

    def transcript(self) -> str:
        return "\n".join(each.visible_text for each in self.messages())


class DiscordRoom(DiscordThread):
    """Thread on a server of Discord."""

    def __init__(self, discord: Discord) -> None:
        super().__init__(discord)
        self.mentions: Mapping[str, str] = {name: f"<@{user.id}>" for name, user in self._users.items()}

    def edit(self, text: str) -> None:
        assert self.question
        self.discord.edit(self.question, f"{self.discord.mention} {text}")

    def remove(self) -> None:
        assert self.question
        self.discord.remove(self.question)

    def _forms(self) -> list[DiscordMessage]:
        return [each for each in self.messages() if each.content.startswith(SIGN)]

    def forms(self) -> Sequence[str]:
        return [each.content for each in self._forms()]

    def options(self) -> Sequence[str]:
        return [option["label"] for each in self._items() for option in each.get("options", [each])]

    def _items(self) -> list[dict[str, Any]]:
        """Return the buttons or the menu of the newest question, without the button for a form."""
        return [each for each in self._forms()[-1].buttons if not each["custom_id"].endswith(":words")]

    async def press(self, user: str, option: int) -> str:
        form, items = self._forms()[-1], self._items()
        is_menu = "options" in items[0]
        name = items[0 if is_menu else option]["custom_id"]
        pressed = await self.discord.click(
            self._users[user], form, name, values=[str(option)] if is_menu else ()
        )
        assert pressed.ephemeral
        return pressed.content

    def transcript(self) -> str:
        return "\n".join(each.content for each in self.messages())
