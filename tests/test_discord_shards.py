"""Discord in several shards: spread evenly over the processes, and taken over when one ends."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from bot.concurrency.tasks import cancel
from bot.discord.shards import fair_share
from tests.servers.discord.service import Discord
from tests.support import discord_processes
from tests.support.discord_processes import (
    QUICK,
    Launch,
    channels,
    mention,
    spread,
    wait_for_connections,
    wait_for_cursors,
)
from tests.support.wait import wait_until

no_heartbeat_is_left = discord_processes.no_heartbeat_is_left
launch = discord_processes.launch


# --- one process


async def test_one_process_holds_all_shards_and_hears_the_guilds_of_each(
    discord: Discord, launch: Launch
) -> None:
    """Direct messages come once, by the first; commands are answered on each, and registered once."""
    places = channels(discord, 4)
    process = await launch("one", 4)
    await wait_for_connections(discord, 4)
    for number, place in enumerate(places):
        await mention(discord, place, f"to {number}")
        assert (await discord.command("agent-health", discord.alice, place)).ephemeral
    await discord.say(discord.alice, discord.dm(discord.alice), "direct")
    expected = ["direct", "to 0", "to 1", "to 2", "to 3"]
    await wait_until(lambda: sorted(process.texts) == expected, "all is heard")
    told = {each.shard[0]: "".join(each.log) for each in discord.sessions}
    assert [number for number in range(4) if '"direct"' in told[number]] == [0]
    assert discord.count("PUT", "/applications/*/commands") == 1


async def test_the_number_of_shards_is_what_discord_recommends(discord: Discord, launch: Launch) -> None:
    """Unless DISCORD_SHARDS says otherwise."""
    discord.starts.shards = 2
    await launch("one")
    await wait_for_connections(discord, 2)


async def test_a_bot_with_one_shard_asks_no_more_than_it_must(discord: Discord, launch: Launch) -> None:
    """The client that sends and the one that listens log in; the gateway is asked for once."""
    await launch("one")
    await wait_for_connections(discord, 1)
    asked = [f"{call.method} {call.path}" for call in discord.calls if call.method == "GET"]
    login = ["GET /users/@me", "GET /oauth2/applications/@me"]
    commands = f"GET /applications/{discord.bot.id}/commands"
    assert asked == [*login, "GET /gateway/bot", *login, commands]


async def test_the_trouble_of_one_shard_is_its_own(discord: Discord, launch: Launch) -> None:
    """A lost connection is resumed, an ended session is begun anew; the others hear nothing of it."""
    await launch("one", 2)
    await wait_for_connections(discord, 2)
    discord.drop_gateway(shard=1)
    await wait_until(lambda: sum(each.resumes for each in discord.sessions) == 1, "resumed")
    assert [(each.shard, each.resumes) for each in discord.sessions if each.resumes] == [((1, 2), 1)]
    ended = next(each for each in discord.sessions if each.shard == (1, 2))
    ended.resumable = False
    discord.drop_gateway(shard=1)
    await wait_until(lambda: len(discord.sessions) == 3, "begun anew")
    await wait_for_connections(discord, 2)
    assert sorted(each.shard for each in discord.sessions) == [(0, 2), (1, 2), (1, 2)]


async def test_health_says_how_many_shards_are_connected(discord: Discord, launch: Launch) -> None:
    """A bot with one shard reads as connected, and says so: "0 of 1" was the number of the shard."""
    process = await launch("one", 1)
    await wait_for_connections(discord, 1)

    async def says(words: str) -> bool:
        return (await process.health()).evidence.get("shards") == words

    await wait_until(lambda: says("1 of 1 connected"), "the connection is told")
    assert "shard_numbers" not in (await process.health()).evidence
    discord.refuse_gateway(times=99)
    discord.drop_gateway()
    await wait_until(lambda: says("0 of 1 connected"), "the loss is told")
    discord.refuse_gateway(times=0)


async def test_health_tells_of_all_shards(discord: Discord, launch: Launch) -> None:
    """The report has the number of shards, the sum of guilds, the newest event, and the worst state."""
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
    await wait_for_connections(discord, 2)
    await cancel(one.tasks[0])
    assert not (await one.health()).evidence["connected"]
    two = await launch("two", 2)
    await spread((one, 0), (two, 2))
    await wait_for_connections(discord, 2)
    one.start()
    await spread((one, 1), (two, 1))
    await wait_for_connections(discord, 2)

    async def is_well() -> bool:
        health = await one.health()
        return health.state == "ok" and health.evidence["connected"]

    await wait_until(is_well, "healthy")


# --- several processes


async def test_two_processes_share_the_shards_evenly(discord: Discord, launch: Launch) -> None:
    """A process that joins gets its half, and nothing moves after that."""
    one = await launch("one", 4)
    await wait_for_connections(discord, 4)
    two = await launch("two", 4)
    await spread((one, 2), (two, 2))
    await wait_for_connections(discord, 4)
    assert sorted(one.holds + two.holds) == [0, 1, 2, 3]
    assert len(discord.sessions) == 6


async def test_a_process_that_ends_is_replaced_at_once(discord: Discord, launch: Launch) -> None:
    """It gives back what it held: nobody waits for a lease."""
    timing = replace(QUICK, shard_lease=600.0)
    one, two = await launch("one", 2, timing=timing), await launch("two", 2, timing=timing)
    await spread((one, 1), (two, 1))
    await wait_for_connections(discord, 2)
    await one.stop()
    await spread((two, 2))
    await wait_for_connections(discord, 2)


async def test_a_process_that_dies_is_replaced_within_two_leases_and_nothing_is_missed(
    discord: Discord, redis: Redis, launch: Launch
) -> None:
    """Messages to its shards meanwhile are found in the history."""
    places = channels(discord, 2)
    one, two = await launch("one", 2), await launch("two", 2)
    await spread((one, 1), (two, 1))
    await wait_for_connections(discord, 2)
    await wait_for_cursors(redis, 2)
    rounds = two.link.rounds
    await one.die()
    for place in places:
        await mention(discord, place, f"into {place.id}")
    await wait_until(lambda: two.holds == [0, 1], "the other has its shard")
    taken = two.link.rounds
    await wait_until(lambda: {f"into {place.id}" for place in places} <= {*two.texts}, "all is heard")
    await wait_for_connections(discord, 2)
    # not by the clock: on a busy machine a round takes longer, and fewer fit into a lease
    assert taken - rounds <= 2 * QUICK.shard_lease / QUICK.shard_renewal


async def test_with_more_processes_than_shards_the_rest_stands_by(discord: Discord, launch: Launch) -> None:
    """Whatever it is called; and takes over when the one that listens ends."""
    one = await launch("b")
    await wait_for_connections(discord, 1)
    two = await launch("a")

    async def stands_by() -> bool:
        return "standing_by" in (await two.health()).evidence

    await wait_until(stands_by, "the second stands by")
    assert (await two.health()).state == "ok"
    assert (one.holds, len(discord.sessions)) == ([0], 1)
    await one.stop()
    await wait_until(lambda: len(discord.sessions) == 2, "the second listens")
    await wait_for_connections(discord, 1)
    assert not await stands_by()


async def test_a_lost_lease_stops_the_client_of_that_shard_alone(
    discord: Discord, redis: Redis, launch: Launch
) -> None:
    """A process that was stopped for longer than a lease finds that another one listens."""
    process = await launch("one", 2)
    await wait_for_connections(discord, 2)
    await redis.set("{bot}:lease:discord:shard:1", "another")
    await wait_until(lambda: discord.shards == [(0, 2)], "one is left")
    assert [each.resumes for each in discord.sessions] == [0, 0]
    assert (await process.health()).evidence["shard_numbers"].startswith("0 ")
    await redis.delete("{bot}:lease:discord:shard:1")
    await wait_for_connections(discord, 2)


async def test_identifies_keep_their_distance_over_all_processes(discord: Discord, launch: Launch) -> None:
    """Two shards of a process, two processes, a restart: Discord refuses none, as `violations` shows."""
    discord.starts.seconds, discord.starts.max_concurrency = 0.3, 2
    timing = replace(QUICK, identify_interval=0.35)
    one, two = await launch("one", 6, timing=timing), await launch("two", 6, timing=timing)
    await spread((one, 3), (two, 3))
    await wait_for_connections(discord, 6)
    await one.die()
    again = await launch("one", 6, timing=timing)
    await spread((again, 3), (two, 3))
    await wait_for_connections(discord, 6)


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
