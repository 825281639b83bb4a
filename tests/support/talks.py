"""One conversation with the whole bot, told in the same words on Slack and on Discord."""

from typing import Any, Literal, Protocol

from redis.asyncio import Redis

from bot.inbox import keys
from tests.servers.discord.service import Channel, Discord, Message
from tests.servers.slack.service import ALICE, BOB, GENERAL, TEAM, Slack
from tests.support.settings import of_discord, of_slack
from tests.support.wait import wait_until

Name = Literal["alice", "bob"]


class Talk(Protocol):
    """Thread that begins with the first message; `mention` and `names` are written into texts."""

    settings: dict[str, Any]
    admin: dict[str, Any]
    """Setting that makes Bob an administrator."""
    mention: str
    names: dict[Name, str]

    async def is_connected(self) -> None:
        """Wait until the bot hears what is said."""

    async def say(self, who: Name, text: str) -> str:
        """Write a message and return its id."""

    async def answer(self) -> str:
        """Return the bot's finished answer to the newest message."""

    async def command(self, who: Name, verb: str, **options: str) -> str:
        """Use `/agent-channel` in the channel of the thread; return the answer."""

    def new_thread(self) -> None:
        """Begin another thread with the next message."""


class SlackTalk:
    """Talk in a channel of Slack."""

    def __init__(self, slack: Slack) -> None:
        self.settings = of_slack(slack)
        self.admin = {"admin_users": f"slack:{BOB}"}
        self.mention = slack.mention
        self._ids: dict[Name, str] = {"alice": ALICE, "bob": BOB}
        self.names: dict[Name, str] = {name: f"<@{id}>" for name, id in self._ids.items()}
        self._slack = slack
        self.root = ""

    async def is_connected(self) -> None:
        await self._slack.wait_for_connections()

    async def say(self, who: Name, text: str) -> str:
        ts = await self._slack.say(self._ids[who], GENERAL, text, thread_ts=self.root or None)
        self.root = self.root or ts
        return f"slack:{TEAM}:{GENERAL}:{ts}"

    async def answer(self) -> str:
        return (await self._slack.answer(GENERAL, self.root)).strip()

    async def command(self, who: Name, verb: str, **options: str) -> str:
        text = " ".join([verb, *options.values()])
        return await self._slack.command_text("/agent-channel", text, self._ids[who], GENERAL)

    def new_thread(self) -> None:
        self.root = ""


class DiscordTalk:
    """Talk in a thread of Discord."""

    def __init__(self, discord: Discord) -> None:
        self.settings = of_discord(discord)
        self.admin = {"admin_users": f"discord:{discord.bob.id}"}
        self.mention = discord.mention
        self._users = {"alice": discord.alice, "bob": discord.bob}
        self.names: dict[Name, str] = {"alice": f"<@{discord.alice.id}>", "bob": f"<@{discord.bob.id}>"}
        self._discord = discord
        self._newest: Message | None = None
        self.thread: Channel | None = None
        discord.bob.administrator = True

    async def is_connected(self) -> None:
        await self._discord.wait_for_connections()

    async def say(self, who: Name, text: str) -> str:
        place = self.thread or self._discord.general
        self._newest = await self._discord.say(self._users[who], place, text)
        return f"discord:{self._newest.id}"

    async def answer(self) -> str:
        assert self._newest
        if self.thread is None:
            self.thread = await self._discord.thread_of(self._newest)
            return (await self._discord.answer(self.thread, bool))[-1].content
        return (await self._discord.answer(self.thread, bool, after=self._newest))[-1].content

    async def command(self, who: Name, verb: str, **options: str) -> str:
        place = self.thread or self._discord.general
        shown = await self._discord.command(f"agent-channel {verb}", self._users[who], place, options)
        return shown.content

    def new_thread(self) -> None:
        self.thread = None


async def ask(talk: Talk, who: Name, text: str) -> str:
    """Write a message and return the answer to it."""
    await talk.say(who, text)
    return await talk.answer()


async def wait_until_passed_over(redis: Redis, message_id: str) -> None:
    """Wait until the inbox has decided not to answer a message."""

    async def is_passed_over() -> bool:
        return bool(await redis.hexists(keys.seen(message_id), "silent"))

    await wait_until(is_passed_over, f"{message_id} is passed over")
