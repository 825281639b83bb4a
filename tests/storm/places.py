"""Places of a storm: threads and direct messages of both services."""

import re
from collections.abc import Sequence
from typing import Protocol

from tests.servers.discord.service import Channel, Discord
from tests.servers.discord.service import Message as DiscordMessage
from tests.servers.slack.service import Slack
from tests.support.approvals import buttons_of

PATIENCE = 300.0
"""Seconds that a user waits for what the bot has to show first."""


class Place(Protocol):
    """One conversation that began with a message; `requests` are the tokens."""

    name: str
    root: str
    requests: list[str]

    async def say(self, text: str) -> None:
        """Write in the place."""

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


class SlackPlace:
    """Slack thread, in a channel or in direct messages. Requests are decided by their buttons."""

    def __init__(self, slack: Slack, user: str, channel: str, root: str) -> None:
        self._slack = slack
        self._user = user
        self._channel = channel
        self.root = root
        self.name = f"Slack {channel} {root}"
        self.requests: list[str] = []

    async def say(self, text: str) -> None:
        await self._slack.say(self._user, self._channel, text, thread_ts=self.root)

    def visible_text(self) -> str:
        replies = self._slack.replies(self._channel, self.root)
        return "\n".join(each.visible_text for each in replies if each.from_bot)

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

    @property
    def _channel(self) -> Channel | None:
        return self._dm or (self._root.thread if self._root else None)

    async def say(self, text: str) -> None:
        if self._channel:
            await self._discord.say(self._discord.alice, self._channel, text)

    def visible_text(self) -> str:
        written: Sequence[DiscordMessage] = self._discord.messages(self._channel) if self._channel else ()
        return "\n".join(each.content for each in written if each.author is self._discord.bot)

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


def _is_settled(shown: str) -> bool:
    return "Approved by" in shown or "Rejected by" in shown
