"""Answers with buttons as users see and press them, alike on Slack and on Discord."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tests.servers.discord.rules import walk
from tests.servers.discord.service import Discord
from tests.servers.slack.service import ALICE, BOB, GENERAL
from tests.support.threads import DiscordThread, SlackThread
from tests.support.wait import wait_until

VOTES = {"up": "positive_button", "down": "negative_button"}


class Place(Protocol):
    """Thread in which Alice asks the bot."""

    platform: str
    settings: Mapping[str, Any]
    authors: Mapping[str, str]
    """Users by name, as in `Message.author`."""

    async def connect(self) -> None:
        """Wait until the bot is connected."""

    async def ask(self, text: str) -> None:
        """Ask as Alice: first in a channel, then in the thread."""

    def edit(self, text: str) -> None:
        """Edit the first question."""

    def remove(self) -> None:
        """Delete the first question."""

    def answers(self) -> Sequence[str]:
        """Return the texts of the bot's messages in the thread."""

    def buttons(self, number: int = -1) -> Sequence[str]:
        """Return the buttons of one of the messages: `up`, `down`, `regenerate`, `details`."""

    async def vote(self, user: str, vote: str, number: int = -1) -> str:
        """Vote on an answer; return what only this user then reads. A form stays open."""

    async def give_reason(self, user: str, reason: str) -> None:
        """Submit the form that the user's last vote has opened."""

    async def press(self, user: str, button: str, number: int = -1) -> str:
        """Press `regenerate` or `details`; return what only this user then reads."""


async def answered(place: Place, text: str, number: int = 1) -> None:
    """Wait until so many messages of the bot are shown with their buttons, the last one with a text."""

    def is_shown() -> bool:
        shown = place.answers()
        return len(shown) == number and text in shown[-1] and "details" in place.buttons()

    await wait_until(is_shown, f"{number} answers, the last with {text!r}")
    await turns_ended()


async def turns_ended() -> None:
    """Wait until the turns of a bot in this process have ended, which is after their answers are shown."""
    turns = [each for each in asyncio.all_tasks() if each.get_name().startswith("turn ")]
    if turns:
        await asyncio.wait(turns)


class SlackPlace(SlackThread):
    """Thread in a channel of Slack."""

    authors: Mapping[str, str] = {"alice": f"slack:{ALICE}", "bob": f"slack:{BOB}"}

    def edit(self, text: str) -> None:
        self.slack.edit(GENERAL, self.root, f"{self.slack.mention} {text}")

    def remove(self) -> None:
        self.slack.remove(GENERAL, self.root)

    def messages(self) -> list[Any]:
        """Return the bot's messages in the thread, except those that are being streamed."""
        return [each for each in super().messages() if each.streaming_state != "in_progress"]

    def answers(self) -> Sequence[str]:
        return [each.visible_text for each in self.messages()]

    def buttons(self, number: int = -1) -> Sequence[str]:
        names: list[str] = []
        for block in self.messages()[number].blocks:
            for each in block.get("elements", ()):
                action = each.get("action_id")
                names += ["up", "down"] if action == "rate" else [action] if action else []
        return names

    async def vote(self, user: str, vote: str, number: int = -1) -> str:
        return await self._press(user, "rate", number, VOTES[vote])

    async def press(self, user: str, button: str, number: int = -1) -> str:
        before = len(self._private(user))
        await self._press(user, button, number)
        await wait_until(lambda: len(self._private(user)) > before, "the press is answered")
        return self._private(user)[before]

    async def _press(self, user: str, action: str, number: int, value: str | None = None) -> str:
        before, ts = len(self._private(user)), self.messages()[number].ts
        command = await self.slack.press(self._users[user], GENERAL, ts, action, value)
        assert command.acked
        return "".join(self._private(user)[before:])

    async def give_reason(self, user: str, reason: str) -> None:
        await wait_until(lambda: self._forms(user) != [], "a form is open")
        form = await self.slack.submit(self._forms(user)[-1], {"reason": reason})
        assert not form.is_open, form.errors

    def _forms(self, user: str) -> list[Any]:
        return [each for each in self.slack.modals if each.user == self._users[user] and each.is_open]


class DiscordPlace(DiscordThread):
    """Thread on a server of Discord."""

    def __init__(self, discord: Discord) -> None:
        super().__init__(discord)
        self.authors: Mapping[str, str] = {name: f"discord:{user.id}" for name, user in self._users.items()}
        self._opened: dict[str, Any] = {}

    def edit(self, text: str) -> None:
        assert self.question
        self.discord.edit(self.question, f"{self.discord.mention} {text}")

    def remove(self) -> None:
        assert self.question
        self.discord.remove(self.question)

    def answers(self) -> Sequence[str]:
        return [each.content for each in self.messages()]

    def buttons(self, number: int = -1) -> Sequence[str]:
        names = [
            each["custom_id"] for each in walk(self.messages()[number].components) if "custom_id" in each
        ]
        return [each.removeprefix("rate:").split(":")[0] for each in names]

    async def vote(self, user: str, vote: str, number: int = -1) -> str:
        return await self._press(user, f"rate:{vote}:", number)

    async def press(self, user: str, button: str, number: int = -1) -> str:
        return await self._press(user, f"{button}:", number)

    async def _press(self, user: str, prefix: str, number: int) -> str:
        message = self.messages()[number]
        names = (each.get("custom_id", "") for each in walk(message.components))
        button = next(each for each in names if each.startswith(prefix))
        pressed = await self.discord.click(self._users[user], message, button)
        self._opened[user] = pressed
        if pressed.modal is not None:
            return ""
        assert pressed.ephemeral
        return pressed.content

    async def give_reason(self, user: str, reason: str) -> None:
        submitted = await self.discord.submit(self._opened[user], {"reason": reason})
        assert submitted.ephemeral
        assert submitted.content.startswith("Thank you")
