"""Catch-up on Discord reads everything that can be read: one broken item ends nothing."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Correction, Event, Json, Message, PlatformError
from bot.concurrency.tasks import cancel
from bot.discord.history import PAGE
from bot.discord.platform import Discord as DiscordPlatform
from bot.discord.platform import connect
from bot.discord.timing import Timing
from bot.inbox import Lookup, keys
from bot.storage.coordination import RedisCoordination
from bot.storage.files import FileStore
from tests.servers.discord.service import Channel, ChannelType, Discord
from tests.support.commands import NO_COMMANDS
from tests.support.platforms import QUICK_DISCORD

MISSED_SECONDS = 100.0


@dataclass
class Reader:
    """A bot that was away for a while, and hears what people wrote meanwhile."""

    platform: DiscordPlatform
    events: list[Event] = field(default_factory=list)

    async def deliver(self, event: Event) -> None:
        self.events.append(event)

    async def catch_up(self) -> list[str]:
        """Return the texts that it hears at its return."""
        await self.platform.catch_up(self.deliver)
        return [each.text for each in self.events if isinstance(each, Message)]


@contextlib.asynccontextmanager
async def return_after_absence(
    discord: Discord, redis: Redis, timing: Timing = QUICK_DISCORD
) -> AsyncIterator[Reader]:
    coordination = RedisCoordination(redis, "one")
    await coordination.set_cursor("discord:0/1", time.time() - MISSED_SECONDS)
    async with connect(
        token=discord.token,
        api_url=discord.url,
        coordination=coordination,
        lookup=Lookup(redis),
        files=FileStore(redis),
        catch_up_hours=24,
        shards=None,
        timing=timing,
    ) as platform:
        reader = Reader(platform)
        receiving = asyncio.create_task(platform.receive(reader.deliver, NO_COMMANDS))
        try:
            await discord.wait_for_connections()
            yield reader
        finally:
            await cancel(receiving)


async def ask(discord: Discord, text: str, channel: Channel | None = None, **more: Any) -> None:
    await discord.say(discord.alice, channel or discord.general, f"{discord.mention} {text}", more=more)


async def test_a_stop_that_was_written_in_a_thread_is_found(discord: Discord, redis: Redis) -> None:
    """In the thread that the bot opened for the question, which has only just begun."""
    question = await discord.say(discord.alice, discord.general, f"{discord.mention} count")
    thread = discord.world.start_thread(discord.general, "count", discord.world.bot, question)
    await discord.say(discord.alice, thread, "!stop")
    async with return_after_absence(discord, redis) as reader:
        assert await reader.catch_up() == ["count", "!stop"]
        asked, stop = reader.events
        assert isinstance(asked, Message)
        assert isinstance(stop, Message)
        assert asked.thread == stop.thread


BROKEN = [
    {"author": None},
    {"id": "none"},
    {"type": "none", "timestamp": 7},
    {"channel_id": "none", "content": 7, "author": {}},
]


@pytest.mark.parametrize("broken", BROKEN, ids=str)
async def test_one_message_that_cannot_be_read_costs_no_other(
    discord: Discord, redis: Redis, broken: dict[str, Any]
) -> None:
    await ask(discord, "before")
    await ask(discord, "broken", **broken)
    await ask(discord, "after")
    async with return_after_absence(discord, redis) as reader:
        assert [each for each in await reader.catch_up() if each != "broken"] == ["before", "after"]


async def test_a_message_is_read_as_far_as_it_can_be(discord: Discord, redis: Redis) -> None:
    await ask(discord, "hello", poll=7)
    async with return_after_absence(discord, redis) as reader:
        assert await reader.catch_up() == ["hello"]
        [message] = reader.events
        assert isinstance(message, Message)
        assert [each.text for each in message.quotes] == ["[A part of it could not be read: a poll.]"]


async def test_all_pages_of_a_channel_are_read_in_order(discord: Discord, redis: Redis) -> None:
    """Three pages; the newest message of the first one cannot be read."""
    broken = PAGE - 1
    for number in range(2 * PAGE + 1):
        await ask(discord, str(number), **({"author": None} if number == broken else {}))
    async with return_after_absence(discord, redis) as reader:
        assert await reader.catch_up() == [str(each) for each in range(2 * PAGE + 1) if each != broken]


@pytest.mark.parametrize("value", [99, "none", None, []], ids=str)
@pytest.mark.parametrize("key", ["id", "type", "last_message_id"])
async def test_one_channel_that_cannot_be_read_costs_no_other(
    discord: Discord, redis: Redis, key: str, value: Json
) -> None:
    """Also one of a type that does not exist yet."""
    other = discord.add_channel("other")
    await ask(discord, "lost", other)
    await ask(discord, "found")
    discord.rest.channel_details = {other.id: {key: value}}
    async with return_after_absence(discord, redis) as reader:
        assert "found" in await reader.catch_up()


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 200, "message": "<html>Please wait</html>"}])
async def test_one_channel_that_fails_costs_no_other_and_is_read_later(
    discord: Discord, redis: Redis, fault: dict[str, Any]
) -> None:
    """Fault: the page of a proxy, with status 200, counted as a channel without messages."""
    other = discord.add_channel("other")
    await ask(discord, "late", discord.general)
    await ask(discord, "found", other)
    discord.fail("GET", f"/channels/{discord.general.id}/messages", **fault)
    async with return_after_absence(discord, redis, replace(QUICK_DISCORD, request_backoff=0.01)) as reader:
        with pytest.raises(PlatformError):
            await reader.catch_up()
        assert [each.text for each in reader.events if isinstance(each, Message)] == ["found"]
        assert "late" in await reader.catch_up()


async def test_a_member_that_cannot_be_read_costs_no_message(discord: Discord, redis: Redis) -> None:
    """The author has no roles then."""
    await ask(discord, "hello")
    discord.fail("GET", "/guilds/*/members/*", status=200)
    async with return_after_absence(discord, redis) as reader:
        assert await reader.catch_up() == ["hello"]
        [message] = reader.events
        assert isinstance(message, Message)
        assert message.roles == ()


@pytest.mark.parametrize("has_left", [False, True])
async def test_a_guest_is_known_as_one(discord: Discord, redis: Redis, has_left: bool) -> None:
    """Fault: the history does not say so, and guests were answered. They leave with the voice channel."""
    discord.alice.is_guest = True
    await ask(discord, "hello")
    if has_left:
        discord.fail("GET", "/guilds/*/members/*", status=404, code=10007)
    async with return_after_absence(discord, redis) as reader:
        assert await reader.catch_up() == ["hello"]
        [message] = reader.events
        assert isinstance(message, Message)
        assert message.is_external
        assert message.roles == ()


@pytest.mark.parametrize("is_guest", [False, True])
async def test_an_edit_that_is_found_says_who_has_made_it(
    discord: Discord, redis: Redis, is_guest: bool
) -> None:
    """Fault: of a message that was taken before, the edit came without roles, and a guest's as a member's."""
    discord.alice.is_guest = is_guest
    message = await discord.say(discord.alice, discord.general, f"{discord.mention} hello")
    await redis.hset(keys.seen(f"discord:{message.id}"), "author", f"discord:{discord.alice.id}")
    discord.edit(message, f"{discord.mention} hello again")
    async with return_after_absence(discord, redis) as reader:
        await reader.catch_up()
        [edit] = reader.events
        assert isinstance(edit, Correction)
        assert edit.message.text == "hello again"
        assert edit.message.is_external is is_guest
        assert edit.message.roles == (() if is_guest else (f"discord:{discord.guild.id}",))


async def test_somebody_who_has_written_much_is_looked_up_once(discord: Discord, redis: Redis) -> None:
    """Fault: a request for each message of all threads, again with each look into the history."""
    for number in range(3):
        await ask(discord, str(number))
    await discord.say(discord.bob, discord.general, f"{discord.mention} 3")
    async with return_after_absence(discord, redis) as reader:
        assert await reader.catch_up() == ["0", "1", "2", "3"]
        assert all(isinstance(each, Message) and each.roles for each in reader.events)
    assert discord.count("GET", "/guilds/*/members/*") == 2


async def test_posts_of_the_time_away_are_found_even_if_they_were_closed(
    discord: Discord, redis: Redis
) -> None:
    forum = discord.add_channel("help", type=ChannelType.FORUM)
    closed = await discord.start_post(discord.alice, forum, "One", f"{discord.mention} closed?")
    discord.archive(closed.channel)
    await discord.start_post(discord.alice, forum, "Two", f"{discord.mention} open?")
    async with return_after_absence(discord, redis) as reader:
        assert await reader.catch_up() == ["closed?", "open?"]
        assert [each.quotes[0].text for each in reader.events if isinstance(each, Message)] == ["One", "Two"]
    assert not discord.violations
