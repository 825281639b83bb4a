"""Places of a storm: threads and direct messages of both services."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from tests.servers.discord.rules import walk
from tests.servers.discord.service import Channel, Discord
from tests.servers.discord.service import Message as DiscordMessage
from tests.servers.slack.service import BOB, TEAM, Message, Slack
from tests.support.approvals import buttons_of
from tests.support.questions import SIGN

PATIENCE = 300.0
"""Seconds that a user waits for what the bot has to show first."""


class Form(NamedTuple):
    """Question of the agent as it is shown; `is_open` while it has buttons."""

    text: str
    is_open: bool


class Place(Protocol):
    """One conversation that began with a message; `requests` are the tokens.

    A second user, Bob, is there: `other` acts as he.
    """

    name: str
    root: str
    requests: list[str]
    mention: str
    authors: Mapping[bool, str]
    """The first user and Bob, as in `Message.author`."""

    async def say(self, text: str, *, other: bool = False) -> str:
        """Write in the place; return the id of the message, as in `Message.id`."""

    def visible_text(self) -> str:
        """Return the bot's messages as text."""

    def edit(self, text: str) -> None:
        """Change the first message."""

    def remove(self) -> None:
        """Delete the first message."""

    async def stop(self) -> None:
        """Ask the bot to stop."""

    async def decide(self, *, approve: bool) -> bool:
        """Decide the bot's request in the place; return True if there is or was one."""

    def forms(self) -> Sequence[Form]:
        """Return the questions of the agent."""

    async def choose(self, option: int) -> bool:
        """Press a button of the open question; return True if that was acknowledged."""

    def rated_answer(self, token: str) -> str:
        """Return the id of the first answer with a token once it has its buttons, else an empty string."""

    async def vote(self, answer: str, vote: str, *, other: bool) -> bool:
        """Press 👍 (`up`) or 👎 (`down`) of an answer; return True if that was acknowledged."""

    async def regenerate(self, answer: str) -> bool:
        """Order another answer in place of one; return True if that was acknowledged."""


class SlackPlace:
    """Slack thread, in a channel or in direct messages. Requests are decided by their buttons."""

    def __init__(self, slack: Slack, user: str, channel: str, root: str) -> None:
        self._slack = slack
        self._user = user
        self._channel = channel
        self.root = root
        self.name = f"Slack {channel} {root}"
        self.requests: list[str] = []
        self.mention = slack.mention
        self._users = {False: user, True: BOB}
        self.authors: Mapping[bool, str] = {key: f"slack:{each}" for key, each in self._users.items()}

    async def say(self, text: str, *, other: bool = False) -> str:
        ts = await self._slack.say(self._users[other], self._channel, text, thread_ts=self.root)
        return f"slack:{TEAM}:{self._channel}:{ts}"

    def _shown(self) -> list[Message]:
        return [each for each in self._slack.replies(self._channel, self.root) if each.from_bot]

    def visible_text(self) -> str:
        return "\n".join(each.visible_text for each in self._shown())

    def edit(self, text: str) -> None:
        self._slack.edit(self._channel, self.root, f"{self._slack.mention} {text}")

    def remove(self) -> None:
        self._slack.remove(self._channel, self.root)

    async def stop(self) -> None:
        await self.say("!stop")

    async def decide(self, *, approve: bool) -> bool:
        for each in self._slack.bot_replies(self._channel, self.root):
            if buttons_of(each):
                button = "approve" if approve else "reject"
                await self._slack.press(self._user, self._channel, each.ts, button)
        return _is_settled(self.visible_text())

    def forms(self) -> Sequence[Form]:
        return [Form(each.visible_text, bool(_slack_buttons(each))) for each in self._shown() if _asks(each)]

    async def choose(self, option: int) -> bool:
        forms = [each for each in self._shown() if _asks(each)]
        return await self._press(forms[-1], f"answer:{option}")

    def rated_answer(self, token: str) -> str:
        for each in self._shown():
            if has_token(token, each.visible_text) and (rate := _slack_buttons(each).get("rate")):
                return str(rate["positive_button"]["value"].partition(":")[2])
        return ""

    async def vote(self, answer: str, vote: str, *, other: bool) -> bool:
        button = "positive_button" if vote == "up" else "negative_button"
        return await self._press(self._answer(answer), "rate", button, other=other)

    async def regenerate(self, answer: str) -> bool:
        return await self._press(self._answer(answer), "regenerate")

    def _answer(self, id: str) -> Message:
        """Return the message with the buttons of an answer."""
        buttons = ((each, _slack_buttons(each).get("regenerate")) for each in self._shown())
        return next(each for each, button in buttons if button and button["value"] == id)

    async def _press(
        self, message: Message, action: str, value: str | None = None, *, other: bool = False
    ) -> bool:
        if action not in _slack_buttons(message):
            return False
        pressed = await self._slack.press(self._users[other], self._channel, message.ts, action, value)
        return pressed.acked


class DiscordPlace:
    """Discord direct message channel, or the thread that the bot creates from a message.

    Nothing can be written before the thread exists: a stop waits for it. Requests are decided by typed
    messages.
    """

    def __init__(
        self, discord: Discord, *, root: DiscordMessage | None = None, dm: Channel | None = None
    ) -> None:
        self._discord = discord
        self._root = root
        self._dm = dm
        self._decided: set[str] = set()
        self.root = str(dm.id if dm else root and root.id)
        self.name = f"Discord {self.root}"
        self.requests: list[str] = []
        self.mention = discord.mention
        self._users = {False: discord.alice, True: discord.bob}
        self.authors: Mapping[bool, str] = {key: f"discord:{each.id}" for key, each in self._users.items()}

    @property
    def _channel(self) -> Channel | None:
        return self._dm or (self._root.thread if self._root else None)

    async def say(self, text: str, *, other: bool = False) -> str:
        if not self._channel:
            return ""
        return f"discord:{(await self._discord.say(self._users[other], self._channel, text)).id}"

    def _shown(self) -> list[DiscordMessage]:
        written: Sequence[DiscordMessage] = self._discord.messages(self._channel) if self._channel else ()
        return [each for each in written if each.author is self._discord.bot]

    def visible_text(self) -> str:
        return "\n".join(each.content for each in self._shown())

    def edit(self, text: str) -> None:
        assert self._root
        self._discord.edit(self._root, f"{self._discord.mention} {text}")

    def remove(self) -> None:
        assert self._root
        self._discord.remove(self._root)

    async def stop(self) -> None:
        if self._root:
            await self._discord.thread_of(self._root, timeout=PATIENCE)
        await self.say("!stop")

    async def decide(self, *, approve: bool) -> bool:
        shown = self.visible_text()
        for request in set(re.findall(r"`approve ([0-9a-f]{8})`", shown)) - self._decided:
            self._decided.add(request)  # what was written stays, so it is written once
            await self.say(f"{'approve' if approve else 'reject'} {request}")
        return _is_settled(shown)

    def forms(self) -> Sequence[Form]:
        return [Form(each.content, bool(each.buttons)) for each in self._forms()]

    def _forms(self) -> list[DiscordMessage]:
        return [each for each in self._shown() if each.content.startswith(SIGN)]

    async def choose(self, option: int) -> bool:
        options = list(_discord_buttons(self._forms()))
        return bool(options) and await self._press(options[option])

    def rated_answer(self, token: str) -> str:
        shown = [each for each in self._shown() if has_token(token, each.content)]
        ids = (id.removeprefix("rate:up:") for id in _discord_buttons(shown) if id.startswith("rate:up:"))
        return next(ids, "")

    async def vote(self, answer: str, vote: str, *, other: bool) -> bool:
        return await self._press(f"rate:{vote}:{answer}", other=other)

    async def regenerate(self, answer: str) -> bool:
        return await self._press(f"regenerate:{answer}")

    async def _press(self, button: str, *, other: bool = False) -> bool:
        message = _discord_buttons(self._shown()).get(button)
        if message is None:
            return False
        try:
            await self._discord.click(self._users[other], message, button, timeout=3)
        except AssertionError:  # the process that took it, or was to answer it, has died
            return False
        return True


def has_token(token: str, text: str) -> bool:
    """Return True if a text contains a token."""
    return re.search(rf"\b{token}\b", text) is not None


def _asks(message: Message) -> bool:
    return SIGN in str(message.blocks)


def _slack_buttons(message: Message) -> dict[str, dict[str, Any]]:
    """Return the buttons of a message by their action."""
    elements: Iterator[dict[str, Any]] = (
        each for block in message.blocks or () for each in block.get("elements", ())
    )
    return {each["action_id"]: each for each in elements if "action_id" in each}


def _discord_buttons(messages: Iterable[DiscordMessage]) -> dict[str, DiscordMessage]:
    """Return the messages by the ids of their buttons."""
    return {
        each["custom_id"]: message
        for message in messages
        for each in walk(message.components)
        if "custom_id" in each
    }


def _is_settled(shown: str) -> bool:
    return "Approved by" in shown or "Rejected by" in shown
