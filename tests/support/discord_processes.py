"""Processes of the bot that share the shards of Discord: real clients, real Redis, a strict gateway."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from discord.gateway import KeepAliveHandler
from redis.asyncio import Redis

from bot.chat import Audience, Event, Health, Json, Message, StorageDown
from bot.commands.commands import Commands
from bot.concurrency.tasks import cancel
from bot.discord.platform import Discord as DiscordPlatform
from bot.discord.platform import connect
from bot.discord.timing import Timing
from bot.inbox import Inbox, Lookup
from bot.platforms.supervise import keep_up
from bot.storage.coordination import RedisCoordination
from bot.storage.files import FileStore
from tests.servers.discord.service import Channel, Discord
from tests.support.commands import nothing_to_stop
from tests.support.platforms import QUICK_DISCORD
from tests.support.wait import wait_until

QUICK = replace(
    QUICK_DISCORD, shard_lease=2.0, shard_renewal=0.1, reconnect_backoff=0.05, presence_interval=0.1
)
"""Short durations for the shards, in the proportions that they have."""


@pytest.fixture(autouse=True)
async def no_heartbeat_is_left() -> AsyncIterator[None]:
    """Assert that heartbeat threads end with their connections, also if no session ever began."""
    yield
    beating = (each for each in threading.enumerate() if isinstance(each, KeepAliveHandler))
    assert all(each._stop_ev.is_set() for each in beating), beating


class Link(RedisCoordination):
    """State that a process shares with the others; when it is cut, its Redis is away."""

    def __init__(self, redis: Redis, name: str) -> None:
        super().__init__(redis, name)
        self.is_cut = False
        self.rounds = 0

    async def attend(self, group: str, seconds: float, note: Json = None) -> tuple[int, Sequence[Json]]:
        self.rounds += 1
        return await super().attend(group, seconds, note)

    def __getattribute__(self, name: str) -> Any:
        if name in ("lease", "release", "attend", "leave", "agree") and self.is_cut:
            return self._fail
        return super().__getattribute__(name)

    async def _fail(self, *args: object, **options: object) -> None:
        raise StorageDown("cut off")


@dataclass
class Process:
    """Process of the bot that takes messages and answers none."""

    platform: DiscordPlatform
    link: Link
    inbox: Inbox
    texts: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def deliver(self, event: Event) -> None:
        """Keep a message."""
        assert isinstance(event, Message)
        await self.inbox.put(event)
        self.texts.append(event.text)

    def start(self) -> asyncio.Task[None]:
        """Begin to listen, and to catch up."""
        receiving = asyncio.create_task(self.platform.receive(self.deliver, Commands(well, nothing_to_stop)))
        self.tasks += [receiving, asyncio.create_task(keep_up(self.platform, self.deliver, seconds=0.1))]
        return receiving

    async def stop(self) -> None:
        """End as SIGTERM does."""
        await cancel(*self.tasks)
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def die(self) -> None:
        """End as kill -9 does: nothing is given back."""
        self.link.is_cut = True
        await self.stop()

    @property
    def holds(self) -> list[int]:
        """Return the numbers of the shards that it holds."""
        return [shard.number for shard in self.platform._shards.held]

    async def audience(self, message: Message) -> Audience:
        """Return the same audience for every message."""
        return "members"

    async def health(self) -> Health:
        """Return the health of its platform."""
        return await self.platform.health()


Launch = Callable[..., Awaitable[Process]]
"""Function that starts a process with a name and a wished number of shards."""


async def well() -> list[Health]:
    """Report that Redis is well."""
    return [Health(name="redis", state="ok")]


@pytest.fixture
async def launch(discord: Discord, redis: Redis) -> AsyncIterator[Launch]:
    """Yield a function that starts processes; those that still run are stopped at the end of the test."""
    stack = contextlib.AsyncExitStack()

    async def launch(
        name: str, wish: int | None = None, *, is_cut: bool = False, timing: Timing = QUICK
    ) -> Process:
        link = Link(redis, name)
        link.is_cut = is_cut
        platform = await stack.enter_async_context(
            connect(
                token=discord.token,
                api_url=discord.url,
                coordination=link,
                lookup=Lookup(redis),
                files=FileStore(redis),
                catch_up_hours=24,
                shards=wish,
                timing=timing,
            )
        )
        process = Process(platform, link, Inbox(redis, name=name, follow_days=30))
        process.start()
        stack.push_async_callback(process.stop)
        return process

    async with stack:
        yield launch


def everything(count: int) -> list[tuple[int, int]]:
    """Return all shards of this count."""
    return [(number, count) for number in range(count)]


async def wait_for_connections(discord: Discord, count: int) -> None:
    """Wait until each of this count of shards is connected once."""
    await wait_until(lambda: discord.shards == everything(count), f"{count} shards", timeout=20)


async def spread(*expected: tuple[Process, int]) -> None:
    """Wait until each process holds as many shards as expected."""
    await wait_until(lambda: all(len(one.holds) == most for one, most in expected), "spread", timeout=20)


def channels(discord: Discord, count: int) -> list[Channel]:
    """Return a channel in a guild of each shard."""
    guilds = [discord.add_guild(f"guild {number}", (number, count)) for number in range(count)]
    return [discord.add_channel("general", guild) for guild in guilds]


async def mention(discord: Discord, channel: Channel, text: str) -> None:
    """Mention the bot in a channel."""
    await discord.say(discord.alice, channel, f"{discord.mention} {text}")


async def wait_for_cursors(redis: Redis, count: int) -> None:
    """Wait until each shard has caught up once, so that from now on nothing may be missed."""

    async def are_known() -> bool:
        sources = [f"discord:{number}/{count}" for number in range(count)]
        return None not in await redis.zmscore("{bot}:heard", sources)

    await wait_until(are_known, "caught up", timeout=20)
