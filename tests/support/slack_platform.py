"""Slack platform with a minimal bot behind it: each message is kept and answered once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from bot.chat import Event, Health, Json, Message, Part, Receipt, Stop, Text, Turn
from bot.commands.commands import Commands
from bot.inbox import Lookup
from bot.slack.platform import Slack as SlackPlatform
from bot.slack.platform import connect
from bot.slack.timing import Timing
from bot.storage.coordination import RedisCoordination
from bot.storage.files import FileStore
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.servers.slack.service import Message as Shown
from tests.support.commands import nothing_to_stop
from tests.support.replies import run_reply
from tests.support.settings import is_slack_over_http
from tests.support.wait import wait_until


@pytest.fixture(autouse=True)
def hostile_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set wrong values for what slack-sdk and Bolt read from the environment on their own."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("BOT_TOKEN", "APP_TOKEN", "SIGNING_SECRET", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"SLACK_{name}", "from-the-environment")


TIMING = Timing(ping_interval=0.2, socket_check_interval=0.1, status_delay=0)
"""Durations of the platform under test: a lost socket is noticed soon, each answer begins with a status."""


@pytest.fixture
def coordination(redis: Redis) -> RedisCoordination:
    """Return the state that the processes of the bot share."""
    return RedisCoordination(redis, "one")


@pytest.fixture
async def server() -> AsyncIterator[Slack]:
    """Yield a Slack server; the test fails if it had to refuse a request or an answer is unfinished."""
    async with Slack(ack_timeout=0.5, redelivery_delays=(0.0, 0.1, 0.1)) as slack:
        yield slack
        assert not slack.violations, slack.violations
        assert not slack.unfinished(), slack.unfinished()


Answer = Callable[[Message], AsyncIterator[Part]]


async def echo(message: Message) -> AsyncIterator[Part]:
    """Answer with the question, word by word."""
    for word in f"You said: {message.text}".split(" "):
        yield Text(word + " ")


@dataclass
class Bot:
    """Platform with the least that makes it a bot: messages are kept, each is answered once."""

    platform: SlackPlatform
    answer: Answer
    group: asyncio.TaskGroup
    messages: list[Message] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    receipts: dict[str, dict[str, Json]] = field(default_factory=dict)
    noted: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    """Receipts with what is not stored yet."""

    refuses_stops: bool = False
    failures: int = 0
    doors_open: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, event: Event) -> None:
        """Keep an event, and answer a message that is addressed and new."""
        await self.doors_open.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the store is away")
        if not isinstance(event, Message):
            self.events.append(event)
            if isinstance(event, Stop) and self.refuses_stops:
                self.platform.refuse_stop(event, "It is not yours.")
            return
        message = event
        self.messages.append(message)
        if message.addressed and [each.id for each in self.messages].count(message.id) == 1:
            self.group.create_task(self.reply(message))

    async def reply(
        self, message: Message, answer: Answer | None = None, attempt: int = 1, *, is_killed: bool = False
    ) -> None:
        """Answer as the inbox would: with the receipt that an earlier attempt left.

        `is_killed`: the process ends before it stores what the reply has noted at last.
        """

        async def keep(state: Mapping[str, Json]) -> None:
            self.receipts[message.id] = dict(state)

        turn = Turn(id=f"turn-{message.id}", thread=message.thread, messages=(message,), attempt=attempt)
        noted = partial(self.noted.__setitem__, message.id)
        receipt = Receipt(turn, keep, dict(self.receipts.get(message.id, {})), replicate=noted)
        parts = (answer or self.answer)(message)
        thread = self.platform.thread(message.thread)
        await (thread.reply(parts, receipt) if is_killed else run_reply(thread, parts, receipt))

    async def wait_for_messages(self, count: int = 1) -> Message:
        """Wait for messages, and return the last one."""
        await wait_until(lambda: len({each.id for each in self.messages}) >= count, f"{count} messages")
        return self.messages[-1]


async def healthy() -> list[Health]:
    """Report that Redis is well."""
    return [Health(name="redis", state="ok", evidence={"ping_ms": 1})]


COMMANDS = Commands(healthy, nothing_to_stop, is_admin=lambda by: by == f"slack:{ALICE}")
"""Commands of the platform under test; Alice is an administrator."""


Connect = Callable[..., contextlib.AbstractAsyncContextManager[SlackPlatform]]
"""Function that connects a platform to a server."""

Serve = Callable[..., contextlib.AbstractAsyncContextManager[Bot]]
"""Function that runs a bot on a server."""


@contextlib.asynccontextmanager
async def _connected(
    redis: Redis,
    server: Slack,
    *,
    timing: Timing = TIMING,
    **settings: Any,
) -> AsyncIterator[SlackPlatform]:
    arguments: dict[str, Any] = {
        "bot_token": server.bot_token,
        "app_token": server.app_token,
        "signing_secret": None,
        "api_url": server.api_url,
    }
    arguments |= {"coordination": RedisCoordination(redis, "one"), "lookup": Lookup(redis)}
    arguments |= {"files": FileStore(redis), "catch_up_hours": 24, "timing": timing}
    async with connect(**arguments | settings) as platform:
        yield platform


@pytest.fixture
def connect_platform(redis: Redis) -> Connect:
    """Return a function that yields a platform which is connected to a server."""
    return partial(_connected, redis)


@contextlib.asynccontextmanager
async def served(platform: SlackPlatform) -> AsyncIterator[str]:
    """Serve the webhook of a platform; yield its address."""
    app = web.Application()
    app.router.add_post("/slack/events", platform.webhooks["/slack/events"].handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _serving(
    redis: Redis,
    server: Slack,
    answer: Answer = echo,
    *,
    check_health: Any = healthy,
    usage: Any = None,
    timing: Timing = TIMING,
    **settings: Any,
) -> AsyncIterator[Bot]:
    is_over_http = is_slack_over_http() and "app_token" not in settings
    if is_over_http:
        settings = {"app_token": None, "signing_secret": server.signing_secret} | settings
    async with (
        contextlib.AsyncExitStack() as stack,
        _connected(redis, server, timing=timing, **settings) as platform,
        asyncio.TaskGroup() as group,
    ):
        if is_over_http:
            server.request_url = await stack.enter_async_context(served(platform))
        bot = Bot(platform, answer, group)
        bot.doors_open.set()
        commands = replace(COMMANDS, check_health=check_health, usage=usage)
        receiving = asyncio.create_task(platform.receive(bot.deliver, commands))
        try:
            if is_over_http:
                await server.wait_for_connections()
            elif not platform.webhooks:
                await server.wait_for_connections(2)
                # the client knows a moment later; asked like this, since health() would use up its probe
                await wait_until(lambda: hears_on_both(platform), "the client knows of its sockets")
            yield bot
        finally:
            receiving.cancel()
            await asyncio.wait([receiving])


@pytest.fixture
def serve(redis: Redis) -> Serve:
    """Return a function that yields a bot which listens for as long as its context lasts."""
    return partial(_serving, redis)


async def hears_on_both(platform: Any) -> bool:
    """Return whether both sockets are connected."""
    return bool(await platform._count_sockets() == 2)


def gated_answer(*parts: Part | Callable[[], Any]) -> Answer:
    """Return an answer of `parts`; a callable among them is awaited in its place."""

    async def answer(message: Message) -> AsyncIterator[Part]:
        for part in parts:
            if callable(part):
                await part()
            else:
                yield part

    return answer


async def a_message(bot: Bot, server: Slack, channel: str = GENERAL, text: str = "hello") -> Message:
    """Return a message that the bot has taken but does not answer by itself."""
    bot.answer = gated_answer()
    await server.say(ALICE, channel, f"{server.mention} {text}")
    message = await bot.wait_for_messages()
    await server.wait_until_settled()
    await wait_until(lambda: bool(bot.receipts) and not server.unfinished(), "answered")
    bot.receipts.clear()
    return message


def own(server: Slack, message: Message) -> list[Shown]:
    """Return the replies to a message."""
    return server.replies(message.thread.channel, message.thread.thread)


LONG = "".join(f"This is line {number} of the first answer.\n" for number in range(900))
