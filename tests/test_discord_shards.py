"""Discord in several shards, over several processes: real clients, real Redis, a strict gateway."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from discord.gateway import KeepAliveHandler
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from bot.chat import (
    Audience,
    CredentialsRejected,
    Event,
    Health,
    Json,
    Message,
    StorageDown,
    Unreachable,
)
from bot.commands.commands import Commands
from bot.concurrency.tasks import cancel
from bot.discord import identify, shards
from bot.discord.platform import Discord as DiscordPlatform
from bot.discord.platform import connect
from bot.discord.shards import fair_share
from bot.inbox import Inbox, Lookup
from bot.platforms import catch_up, supervise
from bot.platforms.supervise import keep_up
from bot.storage.coordination import SharedState
from bot.storage.files import FileStore
from tests.servers.discord.service import Channel, Discord
from tests.support.commands import nothing_to_stop
from tests.support.wait import wait_until

LEASE_SECONDS, RENEW_SECONDS = 2.0, 0.1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """All times short, in the proportions that they have."""
    monkeypatch.setattr(shards, "LEASE_SECONDS", LEASE_SECONDS)
    monkeypatch.setattr(shards, "RENEW_SECONDS", RENEW_SECONDS)
    monkeypatch.setattr(supervise, "_FIRST_DELAY", 0.05)
    monkeypatch.setattr(supervise, "CATCH_UP_SECONDS", 0.1)


@pytest.fixture(autouse=True)
async def no_heartbeat_is_left() -> AsyncIterator[None]:
    """Their threads end with the connections, also where no session ever began."""
    yield
    beating = (each for each in threading.enumerate() if isinstance(each, KeepAliveHandler))
    assert all(each._stop_ev.is_set() for each in beating)


class Link(SharedState):
    """What a process knows with the others; cut, its Redis is away."""

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
    """A process of the bot that takes messages, and answers none."""

    platform: DiscordPlatform
    link: Link
    inbox: Inbox
    heard: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def deliver(self, event: Event) -> None:
        assert isinstance(event, Message)
        await self.inbox.put(event)
        self.heard.append(event.text)

    def start(self) -> asyncio.Task[None]:
        """Begin to listen, and to catch up."""
        receiving = asyncio.create_task(self.platform.receive(self.deliver))
        self.tasks += [receiving, asyncio.create_task(keep_up(self.platform, self.deliver))]
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
        return [shard.number for shard in self.platform._shards.held]

    async def audience(self, message: Message) -> Audience:
        return "members"

    async def health(self) -> Health:
        return await self.platform.health()


Launch = Callable[..., Awaitable[Process]]
"""A fixture: starts a process with a name and a wished number of shards."""


async def well() -> list[Health]:
    return [Health(name="redis", state="ok")]


@pytest.fixture
async def launch(discord: Discord, redis: Redis) -> AsyncIterator[Launch]:
    """Starts processes of the bot; those that still run are stopped at the end of the test."""
    stack = contextlib.AsyncExitStack()

    async def launch(name: str, wish: int | None = None, *, is_cut: bool = False) -> Process:
        link = Link(redis, name)
        link.is_cut = is_cut
        platform = await stack.enter_async_context(
            connect(
                token=discord.token,
                api_url=discord.url,
                commands=Commands(well, nothing_to_stop),
                shared=link,
                lookup=Lookup(redis),
                files=FileStore(redis),
                catch_up_hours=24,
                shards=wish,
            )
        )
        process = Process(platform, link, Inbox(redis, name=name, follow_days=30))
        process.start()
        stack.push_async_callback(process.stop)
        return process

    async with stack:
        yield launch


def everything(count: int) -> list[tuple[int, int]]:
    """All shards of so many."""
    return [(number, count) for number in range(count)]


async def connected(discord: Discord, count: int) -> None:
    """Each of so many shards is connected once."""
    await wait_until(lambda: discord.shards == everything(count), f"{count} shards", timeout=20)


async def spread(*expected: tuple[Process, int]) -> None:
    """Each process holds as many shards as expected."""
    await wait_until(lambda: all(len(one.holds) == most for one, most in expected), "spread", timeout=20)


def channels(discord: Discord, count: int) -> list[Channel]:
    """A channel in a guild of each shard."""
    guilds = [discord.add_guild(f"guild {number}", (number, count)) for number in range(count)]
    return [discord.add_channel("general", guild) for guild in guilds]


async def mention(discord: Discord, channel: Channel, text: str) -> None:
    await discord.say(discord.alice, channel, f"{discord.mention} {text}")


async def known(redis: Redis, count: int) -> None:
    """Each shard has caught up once, so that from now on nothing may be missed."""

    async def are_known() -> bool:
        sources = [f"discord:{number}/{count}" for number in range(count)]
        return None not in await redis.zmscore("{bot}:heard", sources)

    await wait_until(are_known, "caught up", timeout=20)


# --- one process


async def test_one_process_holds_all_shards_and_hears_the_guilds_of_each(
    discord: Discord, launch: Launch
) -> None:
    """Direct messages come once, by the first; commands are answered on each, and registered once."""
    places = channels(discord, 4)
    process = await launch("one", 4)
    await connected(discord, 4)
    for number, place in enumerate(places):
        await mention(discord, place, f"to {number}")
        assert (await discord.command("agent-health", discord.alice, place)).ephemeral
    await discord.say(discord.alice, discord.dm(discord.alice), "direct")
    expected = ["direct", "to 0", "to 1", "to 2", "to 3"]
    await wait_until(lambda: sorted(process.heard) == expected, "all is heard")
    told = {each.shard[0]: "".join(each.log) for each in discord.sessions}
    assert [number for number in range(4) if '"direct"' in told[number]] == [0]
    assert discord.count("PUT", "/applications/*/commands") == 1


async def test_the_number_of_shards_is_what_discord_recommends(discord: Discord, launch: Launch) -> None:
    """Unless DISCORD_SHARDS says otherwise."""
    discord.starts.shards = 2
    await launch("one")
    await connected(discord, 2)


async def test_a_bot_with_one_shard_asks_no_more_than_it_must(discord: Discord, launch: Launch) -> None:
    """The client that sends and the one that listens log in; the gateway is asked for once."""
    await launch("one")
    await connected(discord, 1)
    asked = [f"{call.method} {call.path}" for call in discord.calls if call.method == "GET"]
    login = ["GET /users/@me", "GET /oauth2/applications/@me"]
    commands = f"GET /applications/{discord.bot.id}/commands"
    assert asked == [*login, "GET /gateway/bot", *login, commands]


async def test_the_trouble_of_one_shard_is_its_own(discord: Discord, launch: Launch) -> None:
    """A lost connection is resumed, an ended session is begun anew; the others hear nothing of it."""
    await launch("one", 2)
    await connected(discord, 2)
    discord.drop_gateway(shard=1)
    await wait_until(lambda: sum(each.resumes for each in discord.sessions) == 1, "resumed")
    assert [(each.shard, each.resumes) for each in discord.sessions if each.resumes] == [((1, 2), 1)]
    ended = next(each for each in discord.sessions if each.shard == (1, 2))
    ended.resumable = False
    discord.drop_gateway(shard=1)
    await wait_until(lambda: len(discord.sessions) == 3, "begun anew")
    await connected(discord, 2)
    assert sorted(each.shard for each in discord.sessions) == [(0, 2), (1, 2), (1, 2)]


async def test_health_says_how_many_shards_are_connected(discord: Discord, launch: Launch) -> None:
    """A bot with one shard reads as connected, and says so: "0 of 1" was the number of the shard."""
    process = await launch("one", 1)
    await connected(discord, 1)

    async def says(words: str) -> bool:
        return (await process.health()).evidence.get("shards") == words

    await wait_until(lambda: says("1 of 1 connected"), "the connection is told")
    assert "shard_numbers" not in (await process.health()).evidence
    discord.refuse_gateway(times=99)
    discord.drop_gateway()
    await wait_until(lambda: says("0 of 1 connected"), "the loss is told")
    discord.refuse_gateway(times=0)


async def test_health_tells_of_all_shards(discord: Discord, launch: Launch) -> None:
    """Which of how many, the sum of the guilds, the newest event; the worst of them is the state."""
    channels(discord, 2)
    process = await launch("one", 2)

    async def is_well() -> bool:
        health = await process.health()
        return health.state == "ok" and health.evidence.get("guilds") == 3

    await wait_until(is_well, "healthy")
    evidence = (await process.health()).evidence
    assert evidence["shards"] == "2 of 2 connected"
    assert {"connected", "last_event_s", "latency_ms", "user"} <= evidence.keys()
    assert "disconnected" not in evidence
    discord.refuse_gateway(times=99)
    discord.drop_gateway(shard=1)

    async def is_hurt() -> bool:
        return (await process.health()).state == "degraded"

    await wait_until(is_hurt, "the loss is told")
    evidence = (await process.health()).evidence
    assert (evidence["connected"], evidence["disconnected"]) == (False, "1")
    discord.refuse_gateway(times=0)


async def test_health_forgets_the_shards_that_another_process_has_now(
    discord: Discord, launch: Launch
) -> None:
    """A process that listens again answers for what it has got back."""
    one = await launch("one", 2)
    await connected(discord, 2)
    await cancel(one.tasks[0])
    assert not (await one.health()).evidence["connected"]
    two = await launch("two", 2)
    await spread((one, 0), (two, 2))
    await connected(discord, 2)
    one.start()
    await spread((one, 1), (two, 1))
    await connected(discord, 2)

    async def is_well() -> bool:
        health = await one.health()
        return health.state == "ok" and health.evidence["connected"]

    await wait_until(is_well, "healthy")


# --- several processes


async def test_two_processes_share_the_shards_evenly(discord: Discord, launch: Launch) -> None:
    """Who joins gets its half, and nothing moves after that."""
    one = await launch("one", 4)
    await connected(discord, 4)
    two = await launch("two", 4)
    await spread((one, 2), (two, 2))
    await connected(discord, 4)
    assert sorted(one.holds + two.holds) == [0, 1, 2, 3]
    assert len(discord.sessions) == 6


async def test_a_process_that_ends_is_replaced_at_once(
    discord: Discord, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives back what it held: nobody waits for a lease."""
    monkeypatch.setattr(shards, "LEASE_SECONDS", 600.0)
    one, two = await launch("one", 2), await launch("two", 2)
    await spread((one, 1), (two, 1))
    await connected(discord, 2)
    await one.stop()
    await spread((two, 2))
    await connected(discord, 2)


async def test_a_process_that_dies_is_replaced_within_two_leases_and_nothing_is_missed(
    discord: Discord, redis: Redis, launch: Launch
) -> None:
    """What was said to its shards meanwhile is found in the history."""
    places = channels(discord, 2)
    one, two = await launch("one", 2), await launch("two", 2)
    await spread((one, 1), (two, 1))
    await connected(discord, 2)
    await known(redis, 2)
    rounds = two.link.rounds
    await one.die()
    for place in places:
        await mention(discord, place, f"into {place.id}")
    await wait_until(lambda: two.holds == [0, 1], "the other has its shard")
    taken = two.link.rounds
    await wait_until(lambda: {f"into {place.id}" for place in places} <= {*two.heard}, "all is heard")
    await connected(discord, 2)
    # not by the clock: on a busy machine a round takes longer, and fewer fit into a lease
    assert taken - rounds <= 2 * LEASE_SECONDS / RENEW_SECONDS


async def test_with_more_processes_than_shards_the_rest_stands_by(discord: Discord, launch: Launch) -> None:
    """Whatever it is called; and takes over when the one that listens ends."""
    one = await launch("b")
    await connected(discord, 1)
    two = await launch("a")

    async def stands_by() -> bool:
        return "standing_by" in (await two.health()).evidence

    await wait_until(stands_by, "the second stands by")
    assert (await two.health()).state == "ok"
    assert (one.holds, len(discord.sessions)) == ([0], 1)
    await one.stop()
    await wait_until(lambda: len(discord.sessions) == 2, "the second listens")
    await connected(discord, 1)
    assert not await stands_by()


async def test_a_lost_lease_stops_the_client_of_that_shard_alone(
    discord: Discord, redis: Redis, launch: Launch
) -> None:
    """A process that was stopped for longer than a lease finds that another one listens."""
    process = await launch("one", 2)
    await connected(discord, 2)
    await redis.set("{bot}:lease:discord:shard:1", "another")
    await wait_until(lambda: discord.shards == [(0, 2)], "one is left")
    assert [each.resumes for each in discord.sessions] == [0, 0]
    assert (await process.health()).evidence["shard_numbers"].startswith("0 ")
    await redis.delete("{bot}:lease:discord:shard:1")
    await connected(discord, 2)


async def test_identifies_keep_their_distance_over_all_processes(
    discord: Discord, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two shards of a process, two processes, a restart: Discord refuses none, as `violations` shows."""
    discord.starts.seconds, discord.starts.max_concurrency = 0.3, 2
    monkeypatch.setattr(identify, "IDENTIFY_SECONDS", 0.35)
    one, two = await launch("one", 6), await launch("two", 6)
    await spread((one, 3), (two, 3))
    await connected(discord, 6)
    await one.die()
    again = await launch("one", 6)
    await spread((again, 3), (two, 3))
    await connected(discord, 6)


# --- trouble


async def test_no_session_is_begun_when_none_remains(
    discord: Discord,
    launch: Launch,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Discord would reset the token. The log and the health say what is waited for."""
    monkeypatch.setattr(identify, "_LONGEST_WAIT_SECONDS", 0.05)
    discord.starts.remaining = 0
    process = await launch("one", 2)

    async def is_told() -> bool:
        return "used up" in (await process.health()).evidence.get("session_starts", "")

    await wait_until(is_told, "told")
    assert not discord.sessions
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1
    discord.starts.remaining = 1000
    await connected(discord, 2)


async def test_the_last_sessions_are_counted_one_by_one(
    discord: Discord, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Discord said some time ago is not relied on when it was little."""
    monkeypatch.setattr(identify, "_LONGEST_WAIT_SECONDS", 0.05)
    discord.starts.remaining = 3
    process = await launch("one", 4)
    await wait_until(lambda: discord.starts.remaining == 0, "three have begun")

    async def is_told() -> bool:
        return "session_starts" in (await process.health()).evidence

    await wait_until(is_told, "the fourth waits")
    discord.starts.remaining = 1000
    await connected(discord, 4)


async def test_while_redis_is_away_what_is_held_is_kept(
    discord: Discord, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing new is taken; when it is back, nothing has moved."""
    one, two = await launch("one", 2), await launch("two", 2)
    await spread((one, 1), (two, 1))
    await connected(discord, 2)
    sessions = len(discord.sessions)  # on a busy machine one may have been begun again
    for process in (one, two):
        process.link.is_cut = True
    began = time.monotonic()
    await wait_until(lambda: time.monotonic() - began > 1.5 * LEASE_SECONDS, "the leases have ended")
    assert "shards not renewed" in caplog.text
    assert discord.shards == everything(2)
    for process in (one, two):
        process.link.is_cut = False
    rounds = len(caplog.records)
    await wait_until(lambda: one.platform._shards._is_certain, "renewed")
    await wait_until(lambda: two.platform._shards._is_certain, "renewed")
    assert len(caplog.records) == rounds
    assert (len(one.holds), len(two.holds), len(discord.sessions)) == (1, 1, sessions)


async def test_a_process_whose_redis_is_away_at_first_begins_when_it_is_back(
    discord: Discord, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then it could keep nothing of what it hears."""
    process = await launch("one", is_cut=True)
    await wait_until(lambda: "shards not renewed" in caplog.text, "told")
    assert not discord.sessions
    process.link.is_cut = False
    await connected(discord, 1)


async def test_a_process_that_cannot_reach_the_gateway_lets_others_try(
    discord: Discord, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives its shards back when none was connected for a lease."""
    monkeypatch.setattr(shards, "LEASE_SECONDS", 0.5)
    discord.refuse_gateway(times=999)
    process = await launch("one", 2)
    with pytest.raises(Unreachable):
        await process.tasks[0]
    assert process.holds == []
    discord.refuse_gateway(times=0)
    await launch("two", 2)
    await connected(discord, 2)


async def test_a_deaf_connection_is_found_out_and_built_anew(
    discord: Discord, redis: Redis, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the history has and nobody heard; the other shard goes on."""
    monkeypatch.setattr(catch_up, "SWEEP_SECONDS", 0.3)
    monkeypatch.setattr(catch_up, "DEAF_SECONDS", 0)
    places = channels(discord, 2)
    process = await launch("one", 2)
    await connected(discord, 2)
    await known(redis, 2)
    [deaf] = [each for each in discord.sessions if each.shard == (1, 2)]
    assert deaf.connection
    deaf.connection.deaf = True
    await mention(discord, places[1], "into the void")
    await wait_until(lambda: len(discord.sessions) == 3, "built anew")
    assert "into the void" in process.heard
    await wait_until(lambda: "GUILD_CREATE" in "".join(discord.sessions[2].log), "connected")
    await mention(discord, places[1], "again")
    await wait_until(lambda: "again" in process.heard, "heard")
    assert discord.sessions[2].shard == (1, 2)


async def test_a_refused_token_ends_all_shards(discord: Discord, launch: Launch) -> None:
    """It is the platform's matter, not a shard's."""
    process = await launch("one", 2)
    await connected(discord, 2)
    discord.close_gateway(4004)
    with pytest.raises(CredentialsRejected, match="DISCORD_TOKEN"):
        await process.tasks[0]
    assert process.holds == []


async def test_a_thread_of_ours_that_was_archived_meanwhile_is_read_too(
    discord: Discord, redis: Redis, launch: Launch
) -> None:
    """Each is read once; a chain of replies, which is named after a message, holds nothing up."""
    archived, active = (discord.start_thread(discord.alice, discord.general, name) for name in "ab")
    process = await launch("one")
    await connected(discord, 1)
    for place in (archived, active, discord.general):
        await mention(discord, place, "known")
    await wait_until(lambda: process.heard == ["known"] * 3, "the bot takes part")
    await known(redis, 1)
    await process.stop()
    await discord.say(discord.alice, archived, "into the archived one")
    discord.archive(archived)
    await discord.say(discord.alice, active, "into the active one")
    before = len(discord.calls)
    again = await launch("one")
    missed = {"into the archived one", "into the active one"}
    await wait_until(lambda: missed <= {*again.heard}, "all is heard")
    read = [call.path for call in discord.calls[before:] if call.path.endswith("/messages")]
    assert read.count(f"/channels/{archived.id}/messages") == 1
    assert read.count(f"/channels/{active.id}/messages") == 1


async def missed_in_two_guilds(discord: Discord, redis: Redis, launch: Launch) -> tuple[Channel, Channel]:
    """Channels of two guilds; in both the bot was mentioned while it did not listen."""
    first, second = (discord.add_channel("talk", discord.add_guild(name)) for name in ("first", "second"))
    process = await launch("one")
    await connected(discord, 1)
    await known(redis, 1)
    await process.stop()
    for place in (first, second):
        await mention(discord, place, f"into {place.id}")
    return first, second


@pytest.mark.parametrize("path", ["channels", "threads/active"])
async def test_a_guild_that_cannot_be_read_holds_no_other_up(
    discord: Discord, redis: Redis, launch: Launch, path: str
) -> None:
    """Who was kicked out, or may not look, is told so; the rest counts as heard."""
    first, second = await missed_in_two_guilds(discord, redis, launch)
    assert first.guild
    refused = discord.fail("GET", f"/guilds/{first.guild.id}/{path}", times=99, status=403, code=50001)
    before = await redis.zscore("{bot}:heard", "discord:0/1")
    again = await launch("one")
    await wait_until(lambda: again.heard == [f"into {second.id}"], "the other guild is read")

    async def is_heard() -> bool:
        return await redis.zscore("{bot}:heard", "discord:0/1") != before

    await wait_until(is_heard, "all is heard that can be")
    assert refused.used == 1


async def test_what_a_guild_that_is_out_of_order_has_is_read_later(
    discord: Discord, redis: Redis, launch: Launch
) -> None:
    """The others are read at once, and the gap stays open."""
    first, second = await missed_in_two_guilds(discord, redis, launch)
    assert first.guild
    trouble = discord.fail("GET", f"/guilds/{first.guild.id}/channels", times=10**6, status=503)
    again = await launch("one")
    await wait_until(lambda: f"into {second.id}" in again.heard, "the other guild is read")
    assert f"into {first.id}" not in again.heard
    trouble.times = 0
    await wait_until(lambda: f"into {first.id}" in again.heard, "the guild is read")


# --- another number of shards


async def test_a_new_number_of_shards_comes_when_the_last_process_with_the_old_one_has_ended(
    discord: Discord, redis: Redis, launch: Launch
) -> None:
    """A rolling restart: never are two numbers in use at once, and nothing is missed at the change."""
    places = [*channels(discord, 4), discord.dm(discord.alice)]
    old, older = await launch("one", 2), await launch("two", 2)
    await connected(discord, 2)
    await known(redis, 2)
    await older.stop()
    new = await launch("three", 4)
    await spread((old, 1), (new, 1))
    await connected(discord, 2)
    counts: set[frozenset[int]] = set()

    def changed() -> bool:
        counts.add(frozenset(count for _, count in discord.shards))
        return discord.shards == everything(4)

    await old.stop()
    for place in places:
        await mention(discord, place, f"into {place.id}")
    await wait_until(changed, "four shards", timeout=20)
    assert counts <= {frozenset(), frozenset({2}), frozenset({4})}
    heard = {f"into {place.id}" for place in places[:-1]}
    await wait_until(lambda: heard <= {*new.heard}, "all is heard")


async def test_more_shards_that_discord_demands_are_taken_after_a_new_look(
    discord: Discord, launch: Launch
) -> None:
    """Close code 4011 names the setting; without it, the next `receive` asks Discord again."""
    process = await launch("one")
    await connected(discord, 1)
    discord.starts.shards = discord.starts.least_shards = 2
    discord.close_gateway(4011)
    with pytest.raises(CredentialsRejected, match="DISCORD_SHARDS"):
        await process.tasks[0]
    process.start()
    await connected(discord, 2)


async def test_a_bot_that_was_never_there_does_not_answer_its_past(
    discord: Discord, redis: Redis, launch: Launch
) -> None:
    """However many shards it has."""
    places = channels(discord, 2)
    for place in places:
        await mention(discord, place, "years ago")
    process = await launch("one", 2)
    await connected(discord, 2)
    await known(redis, 2)
    for place in places:
        await mention(discord, place, "now")
    await wait_until(lambda: process.heard == ["now", "now"], "heard")


# --- shares


loads = st.lists(st.integers(0, 8), min_size=1, max_size=6)


@given(st.integers(1, 20), loads)
def test_shares_become_even_and_then_nothing_moves(count: int, taken: list[int]) -> None:
    """Whatever the processes hold at first, and in whatever order they look."""
    held = [0] * len(taken)
    free = count
    for place, load in enumerate(taken):
        held[place] = min(load, free)
        free -= held[place]
    for _ in range(4):
        for place in range(len(held)):
            share = fair_share(count, held, place)
            change = min(share - held[place], free)
            held[place] += change
            free -= change
    assert free == 0
    assert max(held) - min(held) <= 1
    assert [fair_share(count, held, place) for place in range(len(held))] == held


def test_a_share_that_has_to_be_somebodys_stays_where_it_is() -> None:
    """Else a process that joins would move it for nothing."""
    assert [fair_share(1, [0, 1, 0], place) for place in range(3)] == [0, 1, 0]
    assert [fair_share(16, [4, 4, 4, 4, 0], place) for place in range(5)] == [4, 3, 3, 3, 3]
