"""Platforms as seen by one user who asks twice in one place."""

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from typing import Protocol, Self

import aiohttp
from redis.asyncio import Redis

from tests.crash.bot import Bot
from tests.crash.watch import Watch
from tests.servers.discord.service import Discord
from tests.servers.discord.service import Message as DiscordMessage
from tests.servers.slack.service import ALICE, GENERAL, TEAM, Slack
from tests.support.wait import wait_until

TIMEOUT = 60.0


class NamedFile(Protocol):
    """File on any platform."""

    @property
    def name(self) -> str: ...


class Scene(Protocol):
    """Platform with a user who asks there."""

    begins: str
    """Step that shows the first words; after it the model sends the rest of its plan."""

    grows: str
    """Step that shows more; after it the model sends its answer. Empty: the model does not wait."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    @property
    def environ(self) -> Mapping[str, str]:
        """Return the variables that turn the platform on."""

    def observe(self, watch: Watch) -> None:
        """Report the steps that change something to `watch`."""

    async def listens(self, bot: Bot, redis: Redis) -> None:
        """Wait until a question would be received, live or by catch-up."""

    async def ask(self, bot: Bot, text: str) -> None:
        """Ask, always in the same place."""

    async def ask_again(self, bot: Bot) -> None:
        """Repeat the question as a user without an answer does."""

    def on_kill(self) -> None:
        """Record that the bot was killed."""

    def visible_messages(self) -> list[str]:
        """Return the bot's messages; a text in a wrong place is marked as such."""

    async def faults(self, bot: Bot) -> list[str]:
        """Return the bot's violations of the platform's rules at the end."""


class SlackScene:
    """Slack: a mention in a channel, and then a reply in its thread."""

    begins = "slack: chat.startStream #1"
    grows = "slack: chat.appendStream #1"

    def __init__(self) -> None:
        self.slack = Slack(ack_timeout=0.5, redelivery_delays=(0.1, 0.2, 0.5, 1, 1, 2, 2, 4, 4))
        # what there is to know of a stream whose end was not heard of is learnt by ending it
        self.slack.tolerate("message_not_in_streaming_state")
        self.root: str | None = None

    async def __aenter__(self) -> Self:
        await self.slack.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.slack.__aexit__(None, None, None)

    @property
    def environ(self) -> Mapping[str, str]:
        return self.slack.environ

    def observe(self, watch: Watch) -> None:
        reads = ("auth.", "conversations.", "users.", "apps.")
        self.slack.observe(watch.over("slack", lambda method: method.startswith(reads)))

    async def listens(self, bot: Bot, redis: Redis) -> None:
        await self.slack.wait_for_connections(timeout=TIMEOUT)
        await _wait_for_cursor(redis, f"slack:{TEAM}")

    async def ask(self, bot: Bot, text: str) -> None:
        mention = "" if self.root else f"{self.slack.mention} "
        ts = await self.slack.say(ALICE, GENERAL, mention + text, thread_ts=self.root)
        self.root = self.root or ts

    async def ask_again(self, bot: Bot) -> None:
        pass  # Slack does

    def on_kill(self) -> None:
        pass

    def visible_messages(self) -> list[str]:
        slack = self.slack
        texts = []
        for each in (message for channel in slack.workspace.messages for message in slack.messages(channel)):
            if each.from_bot:
                is_here = each.channel == GENERAL and each.thread_ts == self.root
                shown = each.visible_text + _names(each.files)
                texts.append(shown if is_here else f"in {each.channel} {each.thread_ts}: {shown}")
        return texts

    async def faults(self, bot: Bot) -> list[str]:
        await self.slack.wait_until_settled(TIMEOUT)
        return self.slack.violations + self.slack.unfinished()


class SlackWithoutStreams(SlackScene):
    """Slack in a workspace without streams: the answer is posted when it is complete."""

    begins = grows = ""

    def __init__(self) -> None:
        super().__init__()
        self.slack.disable("chat.startStream")


class SlackWithEdits(SlackScene):
    """Slack with an answer that grows by edits."""

    begins = "slack: chat.postMessage #1"
    grows = "slack: chat.update #1"

    @property
    def environ(self) -> Mapping[str, str]:
        return {**super().environ, "SLACK_STREAMING": "edit"}


class DiscordScene:
    """Discord: a mention in a channel, which opens a thread, and then a message there.

    The next life starts so late that Discord has forgotten the nonces: only the history shows what was sent.
    """

    begins = "discord: POST /channels/{channel}/messages #1"
    grows = "discord: PATCH /channels/{channel}/messages/{message} #1"

    def __init__(self) -> None:
        self.discord = Discord()
        self.discord.starts.seconds = 0.1
        self.question: DiscordMessage | None = None

    async def __aenter__(self) -> Self:
        await self.discord.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.discord.__aexit__(None, None, None)

    @property
    def environ(self) -> Mapping[str, str]:
        return self.discord.environ

    def observe(self, watch: Watch) -> None:
        def is_passing(request: str) -> bool:
            # typing ends by itself
            return request.startswith("GET") or "/channels/" not in request or request.endswith("/typing")

        self.discord.observe(watch.over("discord", is_passing))

    async def listens(self, bot: Bot, redis: Redis) -> None:
        await self.discord.wait_for_connections(timeout=TIMEOUT)
        await _wait_for_cursor(redis, "discord:0/1")

    async def ask(self, bot: Bot, text: str) -> None:
        discord = self.discord
        if self.question is None:
            text = f"{discord.mention} {text}"
            self.question = await discord.say(discord.alice, discord.general, text)
        else:
            await discord.say(discord.alice, await discord.thread_of(self.question), text)

    async def ask_again(self, bot: Bot) -> None:
        pass  # the bot reads the history

    def on_kill(self) -> None:
        self.discord.forget_nonces()

    def visible_messages(self) -> list[str]:
        texts = []
        thread = self.question.thread if self.question else None
        for channel in self.discord.world.channels.values():
            for each in self.discord.messages(channel):
                if each.author is self.discord.bot:
                    is_here = channel is thread
                    shown = each.content + _names(each.attachments)
                    texts.append(shown if is_here else f"in {channel.name}: {shown}")
        return texts

    async def faults(self, bot: Bot) -> list[str]:
        return self.discord.violations


class DiscordWithoutHistory(DiscordScene):
    """Discord without access to the history, and with quick restarts: only nonces show what was sent."""

    def on_kill(self) -> None:
        if self.question and self.question.thread:
            self.question.thread.denied.add("read_message_history")

    async def ask_again(self, bot: Bot) -> None:
        await self.discord.wait_for_connections(timeout=TIMEOUT)  # what is said before is lost


class HttpScene:
    """HTTP: requests with an Idempotency-Key, repeated if they were not answered."""

    begins = grows = ""

    def __init__(self) -> None:
        self._asked: dict[str, str] = {}
        self._answers: dict[str, set[str]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._asking)
        await self._session.close()

    @property
    def environ(self) -> Mapping[str, str]:
        return {}

    def observe(self, watch: Watch) -> None:
        pass  # the caller sees nothing of a turn but its answer

    async def listens(self, bot: Bot, redis: Redis) -> None:
        await bot.ready()

    async def ask(self, bot: Bot, text: str) -> None:
        self._asked[text] = uuid.uuid4().hex
        self._begin(bot, text)

    async def ask_again(self, bot: Bot) -> None:
        for text in self._asked:
            self._begin(bot, text)

    def _begin(self, bot: Bot, text: str) -> None:
        asking = asyncio.create_task(self._request(bot.url, text))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    async def _request(self, url: str, text: str) -> None:
        body = {"message": text, "thread_id": "t1"}
        headers = {"Idempotency-Key": self._asked[text]}
        try:
            async with self._session.post(f"{url}chat", json=body, headers=headers) as response:
                answer = await response.json()
        except aiohttp.ClientError:  # the bot has died
            return
        given = f"{response.status}: {answer}"
        if response.status == 200:
            given = answer["response"] + "".join(f"[{file['name']}]" for file in answer.get("files", ()))
        self._answers.setdefault(text, set()).add(given)

    def on_kill(self) -> None:
        pass

    def visible_messages(self) -> list[str]:
        return [" or ".join(sorted(each)) for each in self._answers.values()]

    async def faults(self, bot: Bot) -> list[str]:
        await self.ask_again(bot)
        await asyncio.gather(*self._asking)
        return []


def _names(files: Iterable[NamedFile]) -> str:
    return "".join(f"[{file.name}]" for file in files)


async def _wait_for_cursor(redis: Redis, source: str) -> None:
    async def is_heard() -> bool:
        return await redis.zscore("{bot}:heard", source) is not None

    await wait_until(is_heard, f"{source} is listened to", TIMEOUT)
