"""Thread in which users talk with a bot in this process, alike on Slack and on Discord."""

from collections.abc import Mapping
from typing import Any

from tests.servers.discord.service import Discord
from tests.servers.discord.service import Message as DiscordMessage
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.support.settings import of_discord, of_slack


class SlackThread:
    """Thread in a channel of Slack, which Alice begins."""

    platform = "slack"
    _users: Mapping[str, str] = {"alice": ALICE, "bob": BOB}

    def __init__(self, slack: Slack) -> None:
        self.slack = slack
        self.settings: Mapping[str, Any] = of_slack(slack)
        self.root = ""

    async def connect(self) -> None:
        """Wait until the bot is connected."""
        await self.slack.wait_for_connections()

    async def ask(self, text: str) -> None:
        """Mention the bot as Alice: first in the channel, then in the thread."""
        ts = await self.slack.say(ALICE, GENERAL, f"{self.slack.mention} {text}", thread_ts=self.root or None)
        self.root = self.root or ts

    def messages(self) -> list[Any]:
        """Return the bot's messages in the thread."""
        return [each for each in self.slack.replies(GENERAL, self.root) if each.from_bot]

    def _private(self, user: str) -> list[str]:
        """Return what only this user reads."""
        return [each.text for each in self.slack.ephemerals if each.user == self._users[user]]


class DiscordThread:
    """Thread on a server of Discord, which Alice begins."""

    platform = "discord"

    def __init__(self, discord: Discord) -> None:
        self.discord = discord
        self.settings: Mapping[str, Any] = of_discord(discord)
        self._users = {"alice": discord.alice, "bob": discord.bob}
        self.question: DiscordMessage | None = None

    async def connect(self) -> None:
        """Wait until the bot is connected."""
        await self.discord.wait_for_connections()

    async def ask(self, text: str) -> None:
        """Mention the bot as Alice in the channel; then write in the thread."""
        if self.question is None:
            text = f"{self.discord.mention} {text}"
            self.question = await self.discord.say(self.discord.alice, self.discord.general, text)
        else:
            await self.say("alice", text)

    async def say(self, user: str, text: str) -> None:
        """Write in the thread."""
        assert self.question
        await self.discord.say(self._users[user], await self.discord.thread_of(self.question), text)

    def messages(self) -> list[DiscordMessage]:
        """Return the bot's messages in the thread."""
        thread = self.question.thread if self.question else None
        shown = self.discord.messages(thread) if thread else []
        return [each for each in shown if each.author is self.discord.bot]
