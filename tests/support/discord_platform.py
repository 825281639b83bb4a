"""Discord platform with a minimal bot behind it: each message is kept and answered once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from redis.asyncio import Redis

from bot.chat import Event, Health, Json, Message, Part, Receipt, Text, ThreadId, Turn
from bot.commands.commands import Commands
from bot.discord.platform import Discord as DiscordPlatform
from bot.discord.platform import connect
from bot.discord.timing import Timing
from bot.inbox import Lookup
from bot.storage.coordination import RedisCoordination
from bot.storage.files import FileStore
from tests.servers.discord.service import Channel, Discord
from tests.servers.discord.service import Message as Shown
from tests.support.commands import nothing_to_stop
from tests.support.platforms import QUICK_DISCORD
from tests.support.replies import run_reply

MESSAGES = "/channels/*/messages"
MESSAGE = "/channels/*/messages/*"


QUICK = replace(QUICK_DISCORD, request_backoff=0.01, delivery_backoff=0.01)
"""Short pauses: the order of things is tested here, not the time between them."""


@pytest.fixture
def timing() -> Timing:
    """Return the durations of `bot`; a test may be parametrized with others."""
    return QUICK


@pytest.fixture
def server(discord: Discord) -> Discord:
    """Return the Discord server under the name that these tests use."""
    return discord


Answer = Callable[[Turn], AsyncIterator[Part]]


async def echo(turn: Turn) -> AsyncIterator[Part]:
    """Answer with the question."""
    for word in f"You said: {turn.messages[-1].text}".split(" "):
        yield Text(f"{word} ")


async def well() -> list[Health]:
    """Report that Redis is well."""
    return [Health(name="redis", state="ok", evidence={"ping_ms": 1})]


COMMANDS = Commands(well, nothing_to_stop, is_admin=lambda by: True)
"""Commands of the platform under test; every user is an administrator."""


@dataclass
class Bot:
    """Platform with the least that makes it a bot: messages are kept, the addressed ones answered."""

    platform: DiscordPlatform
    answer: Answer = echo
    heard: list[Message] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    receipts: dict[str, Json] = field(default_factory=dict)
    failures: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    commands: Commands = COMMANDS

    async def deliver(self, event: Event) -> None:
        """Keep a message, and answer it if it is addressed."""
        if not isinstance(event, Message):
            self.events.append(event)
            return
        message = event
        if message.text == "trouble" and self.failures:
            self.failures -= 1
            raise ConnectionError("the store is down")
        self.heard.append(message)
        if message.addressed:
            self.tasks.add(asyncio.create_task(self.reply(message)))

    async def reply(self, *messages: Message, answer: Answer | None = None, is_killed: bool = False) -> None:
        """Answer messages in one turn.

        `is_killed`: the process ends before it stores what the reply has noted at last.
        """
        turn = Turn(id=messages[0].id, thread=messages[0].thread, messages=messages)

        async def keep(state: Mapping[str, Json]) -> None:
            self.receipts[turn.id] = dict(state)

        receipt = Receipt(turn, keep, dict(self.receipts.get(turn.id, {})))
        thread, parts = self.platform.thread(turn.thread), (answer or self.answer)(turn)
        await (thread.reply(parts, receipt) if is_killed else run_reply(thread, parts, receipt))

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[None]:
        """Receive until the context is left."""
        task = asyncio.create_task(self.platform.receive(self.deliver, self.commands))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.gather(*self.tasks)


def a_platform(
    token: str,
    url: str,
    redis: Redis,
    timing: Timing = QUICK,
) -> contextlib.AbstractAsyncContextManager[DiscordPlatform]:
    """Return the context of a platform that is connected to the server at `url`."""
    return connect(
        token=token,
        api_url=url,
        coordination=RedisCoordination(redis, "one"),
        lookup=Lookup(redis),
        files=FileStore(redis),
        catch_up_hours=24,
        shards=None,
        timing=timing,
    )


@contextlib.asynccontextmanager
async def bot_of(
    server: Discord,
    redis: Redis,
    check_health: Callable[[], Awaitable[Sequence[Health]]] = well,
    timing: Timing = QUICK,
) -> AsyncIterator[Bot]:
    """Yield a bot that does not listen yet."""
    async with a_platform(server.token, server.url, redis, timing) as platform:
        bot = Bot(platform, commands=replace(COMMANDS, check_health=check_health))
        yield bot
        assert_no_late_typing(server, bot)


def assert_no_late_typing(server: Discord, bot: Bot) -> None:
    """Assert that no typing came after the last edit of a finished answer; it would go on for 10 s."""
    unfinished = {each.get("channel") for each in bot.receipts.values() if not each.get("finished")}
    for receipt in bot.receipts.values():
        if "channel" not in receipt:  # of a private answer
            continue
        channel = server.world.channels.get(int(receipt["channel"]))
        if channel and channel.typing and receipt["channel"] not in unfinished:
            mine = [each for each in channel.messages.values() if each.author is server.bot]
            assert max(channel.typing) < max(each.history[-1].at for each in mine), channel.typing


@pytest.fixture
async def bot(server: Discord, redis: Redis, timing: Timing) -> AsyncIterator[Bot]:
    """Yield a bot that only sends, until `listening`."""
    async with bot_of(server, redis, timing=timing) as bot:
        yield bot


@pytest.fixture
async def live(bot: Bot, server: Discord) -> AsyncIterator[Bot]:
    """Yield a bot that listens."""
    async with bot.listen():
        await server.wait_for_connections()
        yield bot


def message_of(server: Discord, shown: Shown, text: str = "hello") -> Message:
    """Return a person's message, as `events.parse` would give it."""
    channel = shown.channel
    kind = "dm" if channel.guild is None else "thread" if channel.is_thread else "channel"
    space = str(channel.guild.id) if channel.guild else "dm"
    root = shown.id if kind == "channel" else channel.id
    return Message(
        id=f"discord:{shown.id}",
        thread=ThreadId("discord", space, str(root)),
        author=f"discord:{shown.author.id}",
        text=text,
        sent_at=0,
        addressed=True,
        channel=str(channel.id),
        parent=str(channel.parent.id) if channel.parent else "",
        place={
            "message": str(shown.id),
            "kind": kind,
            "author": str(shown.author.id),
        },
        direct=kind == "dm",
    )


async def direct(server: Discord) -> Message:
    """Return a question in a direct message."""
    return message_of(server, await server.say(server.alice, server.dm(server.alice), "hello"))


def texts(server: Discord, channel: Channel) -> list[str]:
    """Return the texts of the bot in a channel."""
    mine = [each for each in server.messages(channel) if each.author is server.bot]
    return [each.content for each in mine]


def fixed_answer(*parts: Part | str) -> Answer:
    """Return an answer of these parts."""

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        for part in parts:
            yield Text(part) if isinstance(part, str) else part

    return answer


@dataclass
class PausedAnswer:
    """Answer that goes on when the test lets it."""

    before: Sequence[Part]
    after: Sequence[Part] = ()
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, turn: Turn) -> AsyncIterator[Part]:
        for part in self.before:
            yield part
        await self.go_on.wait()
        for part in self.after:
            yield part


def one_by_one(*answers: Answer) -> Answer:
    """Return an answer of several, one after the other."""

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        for each in answers:
            async for part in each(turn):
                yield part

    return answer


def ends(text: str) -> Callable[[Sequence[Shown]], bool]:
    """Return a check that the last message ends with the text."""
    return lambda messages: messages[-1].content.endswith(text)


async def begin_answer(
    server: Discord, bot: Bot, question: Message
) -> tuple[Channel, PausedAnswer, asyncio.Task[None]]:
    """Begin an answer, and return it when its first half is shown."""
    channel = server.world.channels[int(question.channel)]
    held = PausedAnswer([Text("First")], [Text(" and last")])
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await server.answer(channel, ends("First"))
    return channel, held, reply
