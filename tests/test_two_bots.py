"""Two whole bots that answer each other stop by themselves.

Each has its own Redis and its own server, which is the same workspace as its app sees it: what one bot posts,
the other hears as the message of another app's bot.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio
from redis.asyncio import Redis

from bot.storage.client import open_redis
from bot.storage.embedded import embedded_redis
from tests.servers.discord.service import Channel, Discord
from tests.servers.discord.service import Message as Posted
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support.bot import http_port, program, run_bot
from tests.support.settings import needs_sockets, of_discord, of_slack
from tests.support.wait import wait_until

LIMIT = 3
OTHER, OTHER_BOT = "U0OTHER", "B0OTHER"
NOTICE = "until a person writes"


@pytest_asyncio.fixture(scope="session")
async def other_redis_url(tmp_path_factory: Any) -> AsyncIterator[str]:
    """Redis of the second bot."""
    directory: Path = tmp_path_factory.mktemp("other")
    async with embedded_redis(directory) as url:
        yield url


@pytest_asyncio.fixture
async def stores(redis: Redis, redis_url: str, other_redis_url: str) -> tuple[str, str]:
    """The addresses of two empty Redis."""
    async with open_redis(other_redis_url, pool_size=4) as other:
        await other.flushall()
    return redis_url, other_redis_url


class Passing:
    """Messages on their way from one server to the other."""

    def __init__(self) -> None:
        self.under_way: set[asyncio.Task[Any]] = set()

    def begin(self, passing: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(passing)
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)


async def _is_idle(session: aiohttp.ClientSession, port: int) -> bool:
    async with session.get(f"http://127.0.0.1:{port}/health") as response:
        inbox = (await response.json())["agent_status"]["inbox"]
    return not (inbox["waiting"] or inbox["running"] or inbox["postponed"])


async def until_quiet(
    ports: Sequence[int], said: Callable[[], Sequence[str]], is_open: Callable[[], bool]
) -> None:
    """Wait until one bot has given notice, nothing is on its way, and neither has anything left to answer."""
    async with aiohttp.ClientSession() as session:

        async def is_quiet() -> bool:
            before = said()
            if is_open() or not any(NOTICE in each for each in before):
                return False
            idle = [await _is_idle(session, port) for port in ports]
            return all(idle) and not is_open() and said() == before

        await wait_until(is_quiet, "both bots are silent", timeout=60)


def check(said: Sequence[str], rounds: int) -> None:
    """One bot answered each message of a person, the other bot no more than it may, and told that once."""
    assert sum(NOTICE in each for each in said) <= rounds
    assert 2 * rounds <= len(said) <= rounds * (1 + LIMIT + 1)


class SlackPair:
    """Two Slack servers that show the same thread."""

    def __init__(self, servers: Sequence[Slack]) -> None:
        self.servers = servers
        self.roots: dict[Slack, str] = {}
        self.passing = Passing()
        for mine, other in (servers, servers[::-1]):
            mine.add_bot(OTHER, OTHER_BOT)
            self._pass_on(mine, other)

    def _pass_on(self, mine: Slack, other: Slack) -> None:
        announce = mine.workspace.on_change

        def on_change(change: Any, message: Any, before: str) -> None:
            announce(change, message, before)
            if change == "posted" and message.from_bot:
                thread = self.roots[other]
                self.passing.begin(other.say(OTHER, GENERAL, message.visible_text, thread_ts=thread))

        mine.workspace.on_change = on_change

    async def ask(self) -> None:
        """A person mentions both, or writes in the thread in which both take part."""
        for each in self.servers:
            text = f"{each.mention} talk to each other"
            ts = await each.say(ALICE, GENERAL, text, thread_ts=self.roots.get(each))
            self.roots.setdefault(each, ts)

    def said(self) -> list[str]:
        return [text for each in self.servers for text in self.said_by(each)]

    def said_by(self, server: Slack) -> list[str]:
        return [each.visible_text for each in server.messages(GENERAL) if each.from_bot]

    def is_open(self) -> bool:
        return bool(self.passing.under_way or any(each.courier.open() for each in self.servers))


@asynccontextmanager
async def _slack_pair(slack: Slack) -> AsyncIterator[SlackPair]:
    async with Slack(ack_timeout=1, redelivery_delays=(0.2, 0.5, 1)) as second:
        yield SlackPair((slack, second))
        assert not second.violations


@needs_sockets
async def test_two_bots_on_slack_stop_by_themselves(
    stores: tuple[str, str], database_url: str, slack: Slack
) -> None:
    """And answer again once a person writes, until they stop again."""
    limits = {
        "allowed_bots": f"slack:{OTHER_BOT}",
        "bot_loop_limit": LIMIT,
        "follow_up": "always",  # else the first message of the other ends it
        "database_url": database_url,
    }
    async with AsyncExitStack() as stack:
        pair = await stack.enter_async_context(_slack_pair(slack))
        ports = []
        for number, (server, url) in enumerate(zip(pair.servers, stores, strict=True)):
            settings = {**limits, **of_slack(server), "redis_url": url, "bot_name": f"pair-{number}"}
            ports.append(http_port(await stack.enter_async_context(run_bot(**settings))))
            await server.wait_for_connections()
        await pair.ask()
        await until_quiet(ports, pair.said, pair.is_open)
        first = [len(pair.said_by(each)) for each in pair.servers]
        for each in pair.servers:
            check(pair.said_by(each), rounds=1)
        notices = sum(NOTICE in each for each in pair.said())
        await pair.ask()
        await wait_until(lambda: sum(NOTICE in each for each in pair.said()) > notices, "silent again", 60)
        await until_quiet(ports, pair.said, pair.is_open)
        for each, before in zip(pair.servers, first, strict=True):
            assert len(pair.said_by(each)) > before
            check(pair.said_by(each), rounds=2)


class DiscordPair:
    """Two Discord servers that show the same thread."""

    def __init__(self, servers: Sequence[Discord]) -> None:
        self.servers = servers
        self.others = {each: each.world.add_user("other", bot=True) for each in servers}
        self.questions: dict[Discord, Posted] = {}
        self.passing = Passing()
        for mine, other in (servers, servers[::-1]):
            self._pass_on(mine, other)

    def _pass_on(self, mine: Discord, other: Discord) -> None:
        tell = mine.world.listener

        def listen(event: Any) -> object:
            if event.name == "MESSAGE_CREATE" and event.data["author"]["id"] == str(mine.bot.id):
                self.passing.begin(self._repeat(other, event.data["content"]))
            return tell(event)

        mine.world.listener = listen

    async def _repeat(self, server: Discord, text: str) -> None:
        thread = await server.thread_of(self.questions[server])
        if text:  # the line that a thread begins with has none
            await server.say(self.others[server], thread, text)

    async def ask(self) -> None:
        """A person mentions both."""
        for each in self.servers:
            text = f"{each.mention} talk to each other"
            self.questions[each] = await each.say(each.alice, each.general, text)

    def said(self) -> list[str]:
        return [text for each in self.servers for text in self.said_by(each)]

    def said_by(self, server: Discord) -> list[str]:
        thread: Channel | None = self.questions[server].thread
        return (
            [each.content for each in server.messages(thread) if each.author is server.bot] if thread else []
        )

    def is_open(self) -> bool:
        return bool(self.passing.under_way)


async def test_two_bots_on_discord_stop_by_themselves(
    stores: tuple[str, str], database_url: str, discord: Discord
) -> None:
    """The second is a process of its own, since discord.py keeps its addresses in its classes."""
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(Discord())
        pair = DiscordPair((discord, second))
        first_settings = {
            **of_discord(discord),
            "allowed_bots": f"discord:{pair.others[discord].id}",
            "bot_loop_limit": LIMIT,
            "follow_up": "always",
            "redis_url": stores[0],
            "database_url": database_url,
            "bot_name": "pair-0",
        }
        environ = {
            **second.environ,
            "ALLOWED_BOTS": f"discord:{pair.others[second].id}",
            "BOT_LOOP_LIMIT": str(LIMIT),
            "FOLLOW_UP": "always",
            "REDIS_URL": stores[1],
            "DATABASE_URL": database_url,
            "BOT_NAME": "pair-1",
        }
        child = await stack.enter_async_context(program(environ))
        port = http_port(await stack.enter_async_context(run_bot(**first_settings)))
        await child.ready()
        for each in pair.servers:
            await each.wait_for_connections(timeout=30)
        await pair.ask()
        await until_quiet([port, child.port], pair.said, pair.is_open)
        for each in pair.servers:
            check(pair.said_by(each), rounds=1)
        assert await child.stop() == 0
        assert not second.violations
