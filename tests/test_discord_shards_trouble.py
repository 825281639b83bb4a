"""Discord in several shards when Redis, the gateway or a guild fails, or their number changes."""

import logging
import time
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from bot.chat import CredentialsRejected, Unreachable
from bot.discord.texts import STORAGE_DOWN
from tests.servers.discord.service import Channel, Discord
from tests.support import discord_processes
from tests.support.discord_processes import (
    QUICK,
    Launch,
    channels,
    everything,
    mention,
    spread,
    wait_for_connections,
    wait_for_cursors,
)
from tests.support.wait import wait_until

no_heartbeat_is_left = discord_processes.no_heartbeat_is_left
launch = discord_processes.launch


# --- trouble


async def test_no_session_is_begun_when_none_remains(
    discord: Discord, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    """Discord would reset the token. The log and the health say what is waited for."""
    discord.starts.remaining = 0
    process = await launch("one", 2, timing=replace(QUICK, longest_reset_wait=0.05))

    async def is_told() -> bool:
        return "used up" in (await process.health()).evidence.get("session_starts", "")

    await wait_until(is_told, "told")
    assert not discord.sessions
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1
    discord.starts.remaining = 1000
    await wait_for_connections(discord, 2)


async def test_the_last_sessions_are_counted_one_by_one(discord: Discord, launch: Launch) -> None:
    """An old count of Discord's is not relied on when it was little."""
    discord.starts.remaining = 3
    process = await launch("one", 4, timing=replace(QUICK, longest_reset_wait=0.05))
    await wait_until(lambda: discord.starts.remaining == 0, "three have begun")

    async def is_told() -> bool:
        return "session_starts" in (await process.health()).evidence

    await wait_until(is_told, "the fourth waits")
    discord.starts.remaining = 1000
    await wait_for_connections(discord, 4)


async def test_while_redis_is_away_what_is_held_is_kept(
    discord: Discord, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing new is taken, and the presence says why; when it is back, nothing has moved."""
    one, two = await launch("one", 2), await launch("two", 2)
    await spread((one, 1), (two, 1))
    await wait_for_connections(discord, 2)
    sessions = len(discord.sessions)  # on a busy machine one may have been begun again
    for process in (one, two):
        process.link.is_cut = True
    began = time.monotonic()
    await wait_until(lambda: time.monotonic() - began > 1.5 * QUICK.shard_lease, "the leases have ended")
    assert "shards not renewed" in caplog.text
    assert discord.shards == everything(2)
    shown = [each for each in discord.sessions if each.connected]
    await wait_until(lambda: {each.presence for each in shown} == {STORAGE_DOWN}, "the trouble is shown")
    for process in (one, two):
        process.link.is_cut = False
    rounds = len(caplog.records)
    await wait_until(lambda: one.platform._shards._is_certain, "renewed")
    await wait_until(lambda: two.platform._shards._is_certain, "renewed")
    assert len(caplog.records) == rounds
    await wait_until(lambda: {each.presence for each in shown} == {""}, "the trouble is over")
    assert (len(one.holds), len(two.holds), len(discord.sessions)) == (1, 1, sessions)


async def test_a_process_whose_redis_is_away_at_first_begins_when_it_is_back(
    discord: Discord, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then it could keep nothing of what it hears."""
    process = await launch("one", is_cut=True)
    await wait_until(lambda: "shards not renewed" in caplog.text, "told")
    assert not discord.sessions
    process.link.is_cut = False
    await wait_for_connections(discord, 1)


async def test_a_process_that_cannot_reach_the_gateway_lets_others_try(
    discord: Discord, launch: Launch
) -> None:
    """It gives its shards back when none was connected for a lease."""
    timing = replace(QUICK, shard_lease=0.5)
    discord.refuse_gateway(times=999)
    process = await launch("one", 2, timing=timing)
    with pytest.raises(Unreachable):
        await process.tasks[0]
    assert process.holds == []
    discord.refuse_gateway(times=0)
    await launch("two", 2, timing=timing)
    await wait_for_connections(discord, 2)


async def test_a_deaf_connection_is_found_out_and_built_anew(
    discord: Discord, redis: Redis, launch: Launch
) -> None:
    """By what the history has and nobody heard; the other shard goes on."""
    places = channels(discord, 2)
    process = await launch("one", 2, timing=replace(QUICK, sweep_interval=0.3, deaf_after=0))
    await wait_for_connections(discord, 2)
    await wait_for_cursors(redis, 2)
    [deaf] = [each for each in discord.sessions if each.shard == (1, 2)]
    assert deaf.connection
    deaf.connection.deaf = True
    await mention(discord, places[1], "into the void")
    await wait_until(lambda: len(discord.sessions) == 3, "built anew")
    assert "into the void" in process.texts
    await wait_until(lambda: "GUILD_CREATE" in "".join(discord.sessions[2].log), "connected")
    await mention(discord, places[1], "again")
    await wait_until(lambda: "again" in process.texts, "heard")
    assert discord.sessions[2].shard == (1, 2)


async def test_a_refused_token_ends_all_shards(discord: Discord, launch: Launch) -> None:
    """It is the platform's matter, not a shard's."""
    process = await launch("one", 2)
    await wait_for_connections(discord, 2)
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
    await wait_for_connections(discord, 1)
    for place in (archived, active, discord.general):
        await mention(discord, place, "known")
    await wait_until(lambda: process.texts == ["known"] * 3, "the bot takes part")
    await wait_for_cursors(redis, 1)
    await process.stop()
    await discord.say(discord.alice, archived, "into the archived one")
    discord.archive(archived)
    await discord.say(discord.alice, active, "into the active one")
    before = len(discord.calls)
    again = await launch("one")
    missed = {"into the archived one", "into the active one"}
    await wait_until(lambda: missed <= {*again.texts}, "all is heard")
    read = [call.path for call in discord.calls[before:] if call.path.endswith("/messages")]
    assert read.count(f"/channels/{archived.id}/messages") == 1
    assert read.count(f"/channels/{active.id}/messages") == 1


async def missed_in_two_guilds(discord: Discord, redis: Redis, launch: Launch) -> tuple[Channel, Channel]:
    """Channels of two guilds; in both the bot was mentioned while it did not listen."""
    first, second = (discord.add_channel("talk", discord.add_guild(name)) for name in ("first", "second"))
    process = await launch("one")
    await wait_for_connections(discord, 1)
    await wait_for_cursors(redis, 1)
    await process.stop()
    for place in (first, second):
        await mention(discord, place, f"into {place.id}")
    return first, second


@pytest.mark.parametrize("path", ["channels", "threads/active"])
async def test_a_guild_that_cannot_be_read_holds_no_other_up(
    discord: Discord, redis: Redis, launch: Launch, path: str
) -> None:
    """A bot that was kicked out, or may not look, is told so; the rest counts as heard."""
    first, second = await missed_in_two_guilds(discord, redis, launch)
    assert first.guild
    refused = discord.fail("GET", f"/guilds/{first.guild.id}/{path}", times=99, status=403, code=50001)
    before = await redis.zscore("{bot}:heard", "discord:0/1")
    again = await launch("one")
    await wait_until(lambda: again.texts == [f"into {second.id}"], "the other guild is read")

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
    await wait_until(lambda: f"into {second.id}" in again.texts, "the other guild is read")
    assert f"into {first.id}" not in again.texts
    trouble.times = 0
    await wait_until(lambda: f"into {first.id}" in again.texts, "the guild is read")


# --- another number of shards


async def test_a_new_number_of_shards_comes_when_the_last_process_with_the_old_one_has_ended(
    discord: Discord, redis: Redis, launch: Launch
) -> None:
    """A rolling restart: never are two numbers in use at once, and nothing is missed at the change."""
    places = [*channels(discord, 4), discord.dm(discord.alice)]
    old, older = await launch("one", 2), await launch("two", 2)
    await wait_for_connections(discord, 2)
    await wait_for_cursors(redis, 2)
    await older.stop()
    new = await launch("three", 4)
    await spread((old, 1), (new, 1))
    await wait_for_connections(discord, 2)
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
    await wait_until(lambda: heard <= {*new.texts}, "all is heard")


async def test_more_shards_that_discord_demands_are_taken_after_a_new_look(
    discord: Discord, launch: Launch
) -> None:
    """Close code 4011 names the setting; without it, the next `receive` asks Discord again."""
    process = await launch("one")
    await wait_for_connections(discord, 1)
    discord.starts.shards = discord.starts.least_shards = 2
    discord.close_gateway(4011)
    with pytest.raises(CredentialsRejected, match="DISCORD_SHARDS"):
        await process.tasks[0]
    process.start()
    await wait_for_connections(discord, 2)


async def test_a_bot_that_was_never_there_does_not_answer_its_past(
    discord: Discord, redis: Redis, launch: Launch
) -> None:
    """However many shards it has."""
    places = channels(discord, 2)
    for place in places:
        await mention(discord, place, "years ago")
    process = await launch("one", 2)
    await wait_for_connections(discord, 2)
    await wait_for_cursors(redis, 2)
    for place in places:
        await mention(discord, place, "now")
    await wait_until(lambda: process.texts == ["now", "now"], "heard")
