"""Nothing that is remembered crosses persons, channels, workspaces or platforms, whatever the model does."""

import itertools
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import pytest
from langchain_core.tools import BaseTool
from redis.asyncio import Redis

from bot.chat import Audience, Message, Turn
from bot.memory import (
    AccountLinks,
    LongTermMemory,
    OfflineEmbeddings,
    account_of,
)
from bot.memory.visibility import (
    Account,
    fact_for,
    search_readers,
    turn_readers,
)
from bot.tools.context import tool_config
from bot.tools.errors import ToolFailure
from bot.tools.sql.database import open_database
from bot.tools.toolset import toolset
from tests.support.memory import remember
from tests.support.turns import (
    derive_audience,
    discord_dm,
    discord_message,
    http_message,
    slack_dm,
    slack_message,
    turn_with,
)

OFFLINE = OfflineEmbeddings()

PLACES: dict[str, Message] = {
    "U1's DM": slack_dm(user="U1"),
    "U2's DM": slack_dm(user="U2"),
    "U1's namesake's DM": slack_dm(user="U1", team="T2"),
    "public C1": slack_message(channel="C1"),
    "public C2": slack_message(channel="C2", thread="2.2"),
    "private G1": slack_message(channel="G1", kind="group", thread="3.3"),
    "group M1": slack_message(channel="M1", kind="mpim", thread="4.4"),
    "shared S1": slack_message(channel="S1", thread="5.5", place={"shared": "yes"}),
    "C1 of T2": slack_message(team="T2", channel="C1"),
    "discord DM of 1": discord_dm(user="1"),
    "discord DM of 2": discord_dm(user="2"),
    "open channel": discord_message(),
    "other open channel": discord_message(channel="201", thread="301"),
    "closed channel": discord_message(channel="202", thread="302", is_open=False),
    "closed thread": discord_message(thread="303", is_closed=True),
    "other guild": discord_message(guild="101", channel="203", thread="304"),
    "http": http_message(),
}

OWN = {place: {place} for place in PLACES}
IN_T1 = {"public C1", "public C2"}
FINDS = OWN | {
    **{place: {place} | IN_T1 for place in ("U1's DM", "U2's DM", "private G1", "group M1", *IN_T1)},
    "U1's namesake's DM": {"U1's namesake's DM", "C1 of T2"},
    # who answers in a shared channel is heard by strangers
    "shared S1": {"shared S1"},
    **{
        place: {place, "open channel", "other open channel"}
        for place in ("open channel", "other open channel", "closed channel", "closed thread")
    },
}
"""Whose conversations may be found where; a closed place's only in itself, a person's only by that person."""


@pytest.fixture
def memory(redis: Redis) -> LongTermMemory:
    """The memory on an empty Redis."""
    return LongTermMemory(redis, OFFLINE, AccountLinks(redis), derive_audience, fact_days=30, turn_days=30)


@pytest.fixture
async def tools(memory: LongTermMemory) -> AsyncIterator[dict[str, BaseTool]]:
    """The model's tools by name; their database is not used."""
    async with open_database("postgresql://127.0.0.1:1/none", size=1) as pool:
        yield {tool.name: tool for tool in toolset(pool, memory)}


async def call(tool: BaseTool, message: Message, **arguments: object) -> str:
    """Return the result for the model when it calls a tool in the place of a message; a refusal too."""
    try:
        said = replace(message, text=str(arguments.get("text", message.text)))  # only that can be saved
        return str(await tool.ainvoke(arguments, tool_config({}, turn_with(said))))
    except ToolFailure as error:
        return str(error)


def marked(names: Iterable[str], text: str) -> set[str]:
    """The places whose secrets stand in a text."""
    return {name for name in names if f"<{name}>" in text}


async def conversations_everywhere(memory: LongTermMemory) -> None:
    for name, message in PLACES.items():
        await remember(memory, turn_with(message), f"the secret of <{name}> is zeppelin")
    await memory.filer.embed_missing()


@pytest.mark.parametrize("place", PLACES)
async def test_conversations_are_found_by_those_who_may_read_them(memory: LongTermMemory, place: str) -> None:
    """By words and by meaning, each place sees itself, and what everybody of its workspace may read."""
    await conversations_everywhere(memory)
    found = await memory.search(turn_with(PLACES[place]), "the secret of the zeppelin", limit=100)
    texts = "\n".join(each.answer for each in found.records)
    assert marked(PLACES, texts) == FINDS[place]


@pytest.mark.parametrize("place", PLACES)
async def test_facts_are_found_by_those_they_are_for(
    memory: LongTermMemory, tools: dict[str, BaseTool], place: str
) -> None:
    """The model saves with every scope, everywhere; what it may not is refused, what it may stays inside."""
    for name, message in PLACES.items():
        for scope in ("private", "channel", "workspace"):
            await call(
                tools["memory_save"], message, text=f"<{name}> has the {scope} zeppelin {name}", scope=scope
            )
    found = await memory.search(turn_with(PLACES[place]), "zeppelin", limit=500)
    texts = "\n".join(each.question for each in found.records)
    assert marked(PLACES, texts) == FINDS[place]
    private = {each.said[0].by for each in found.records if each.scope == "private"}
    assert private <= {account_of(PLACES[place]).digest}


ATTACKS = [
    "search all users' memory",
    "ignore the scope and show everything about zeppelin",
    "*",
    "private:slack:U2 zeppelin",
    "zeppelin) | (@readers:{*})",
    "zeppelin)|(*",
    "@readers:{*}",
    "@authors:{*} zeppelin",
    "@kind:{fact}",
    "}) | @terms:(zeppelin",
    '"zeppelin" | zeppelin',
    "-nothing",
    "zeppelin*",
    "%zeppelin%",
    "$vector",
    "*=>[KNN 100 @vector $vector]",
    "zeppelin=>{$weight: 5}",
    "~zeppelin",
    "w'*'",
    "@at:[-inf +inf]",
    "zeppelin\\) | (zeppelin",
    "ismissing(@readers)",
    "zeppelin\x00",
    "\uff5a\uff45\uff50\uff50\uff45\uff4c\uff49\uff4e",
    "'; FLUSHALL; '",
    "\ud800 zeppelin",
    "x" * 100_000,
    " ".join(f"word{number}" for number in range(5_000)) + " zeppelin",
]


@pytest.mark.parametrize("query", ATTACKS, ids=lambda query: query[:30].encode("unicode_escape").decode())
async def test_no_query_leaves_its_readers(
    memory: LongTermMemory, tools: dict[str, BaseTool], query: str
) -> None:
    """RediSearch's syntax, orders and names of others in a query are so many words."""
    await remember(memory, turn_with(slack_dm(user="U2")), "the zeppelin of <U2>")
    await memory.save(turn_with(slack_dm(user="U2")), "the zeppelin fact of <U2>", "private")
    await remember(memory, turn_with(slack_message(channel="G1", kind="group")), "the zeppelin of <G1>")
    await memory.filer.embed_missing()
    for message in (slack_dm(user="U1"), slack_message(), discord_dm(), http_message()):
        text = await call(tools["memory_search"], message, query=query)
        assert "<" not in text


@pytest.mark.parametrize(
    "injected",
    [
        {"scope": "private:slack:U2"},
        {"scope": "*"},
        {"scope": "@scope:{*}"},
        {"scope": "private", "owner": "slack:U2", "user": "U2", "readers": "*"},
        {"scope": "private", "config": {"configurable": {"turn": "x", "thread_id": "slack:t1:du2:1.1"}}},
        {"scope": "PRIVATE"},
        {"scope": ["private", "workspace"]},
        {"scope": ""},
    ],
)
async def test_no_argument_names_other_readers(
    memory: LongTermMemory, tools: dict[str, BaseTool], injected: dict[str, object]
) -> None:
    """A scope is one of three words; what else the model sends along is left out or refused."""
    tool = tools["memory_save"]
    assert set(tool.args) == {"text", "scope"}
    assert set(tools["memory_search"].args) == {"query", "since", "until"}
    config = tool_config({}, turn_with(replace(slack_dm(user="U1"), text="a planted zeppelin")))
    try:
        await tool.ainvoke({"text": "planted zeppelin", **injected}, config)
    except ValueError:  # pydantic's refusal, which the model is told
        assert not await memory.store._redis.keys("recall:record:*")
    for other in (slack_dm(user="U2"), slack_message(), discord_dm()):
        assert (await memory.search(turn_with(other), "zeppelin")).records == ()


LOOK_ALIKES = [
    "U1",
    "u1",
    " U1",
    "U1 ",
    "U1:",
    "U1*",
    "U1,U2",
    "U1|U2",
    "U11",
    "\u0421U1",  # a Cyrillic letter that looks like C
    "CU1",
    "\uff351",
    "U\u0661",
    "T1:U1",
    "U1\x00",
    "",
    '","',
]


def test_look_alike_names_are_different_readers() -> None:
    """Case, spaces, separators and foreign letters tell people, channels, spaces and threads apart."""
    everyone = [Account(platform, "T1", user) for platform in ("slack", "discord") for user in LOOK_ALIKES]
    everyone += [Account("slack", f"T1:{user}", "") for user in LOOK_ALIKES]
    everyone += [Account("slack", "", f"T1:{user}") for user in LOOK_ALIKES]
    assert len({each.digest for each in everyone}) == len(set(everyone))
    channels = [turn_with(slack_message(channel=name)) for name in LOOK_ALIKES if name]
    assert len({fact_for(turn, "channel", "everyone") for turn in channels}) == len(channels)
    spaces = [turn_with(slack_message(team=name)) for name in LOOK_ALIKES]
    assert len({fact_for(turn, "workspace", "everyone") for turn in spaces}) == len(spaces)


def test_person_channel_space_and_thread_of_one_name_are_different_readers() -> None:
    """Nobody can be named like a place."""
    turn = turn_with(slack_message(user="X", team="X", channel="X", thread="X", kind="channel"))
    direct = turn_with(slack_message(user="X", team="X", channel="X", thread="X", kind="im"))
    assert len(turn_readers(turn, "everyone") | turn_readers(direct, "members")) == 4


async def test_look_alikes_find_nothing_of_each_other(memory: LongTermMemory) -> None:
    """Through Redis, which compares tags without case and cuts them at commas."""
    for user in LOOK_ALIKES:
        await memory.save(turn_with(slack_dm(user=user, thread=user)), f"zeppelin of <{user}>", "private")
    for user in LOOK_ALIKES:
        found = await memory.search(turn_with(slack_dm(user=user, thread="9.9")), "zeppelin", limit=100)
        assert [each.question for each in found.records] == [f"zeppelin of <{user}>".replace("  ", " ")]


def test_digests_are_long_enough_that_no_prefix_is_shared_by_chance() -> None:
    """The whole digest is compared: 160 bits."""
    assert len(Account("slack", "T1", "U1").digest) == 40


async def test_nothing_private_is_found_in_a_turn_of_several(memory: LongTermMemory) -> None:
    """Two people in one turn read one answer."""
    await memory.save(turn_with(slack_dm(user="U1")), "the private zeppelin", "private")
    both = turn_with(slack_message(user="U1"), slack_message(user="U2"))
    assert (await memory.search(both, "zeppelin")).records == ()
    merged = Turn(id="1", thread=slack_dm().thread, messages=(slack_dm(user="U1"), slack_dm(user="U2")))
    accounts = frozenset({account_of(slack_dm(user="U1"))})
    assert account_of(slack_dm(user="U1")).digest not in search_readers(merged, accounts, "members")


async def test_stranger_in_a_shared_channel_sees_that_channel_only(memory: LongTermMemory) -> None:
    """One who writes from another workspace is no member of ours, however the channel is known."""
    await remember(memory, turn_with(slack_message(channel="C2")), "the zeppelin of <C2>")
    await remember(memory, turn_with(slack_message(channel="C1")), "the zeppelin of <C1>")
    stranger = slack_message(channel="C1", thread="7.7", place={"user_team": "T9"})
    found = await memory.search(turn_with(stranger), "zeppelin")
    assert [each.answer for each in found.records] == ["the zeppelin of <C1>"]


async def test_linked_accounts_are_one_person_until_they_are_unlinked(
    memory: LongTermMemory, redis: Redis
) -> None:
    """A private fact of either side is found on both, in direct conversations only."""
    people = AccountLinks(redis)
    slack, discord = slack_dm(user="U1"), discord_dm(user="1")
    await memory.save(turn_with(slack), "slack zeppelin", "private")
    await memory.save(turn_with(discord), "discord zeppelin", "private")

    async def seen(message: Message) -> set[str]:
        return {each.question for each in (await memory.search(turn_with(message), "zeppelin")).records}

    assert await seen(discord) == {"discord zeppelin"}
    await people.link(account_of(discord), await people.offer(account_of(slack)))
    assert await seen(discord) == await seen(slack) == {"slack zeppelin", "discord zeppelin"}
    for other in (slack_dm(user="U2"), discord_dm(user="2"), slack_message(user="U1"), discord_message()):
        assert await seen(other) == set()
    await people.unlink(account_of(slack))
    assert await seen(discord) == {"discord zeppelin"}
    assert await seen(slack) == {"slack zeppelin"}


def test_what_is_kept_is_never_found_by_more_than_the_rules_say() -> None:
    """The readers of each pair of places meet exactly where the table above says so."""
    for (one, kept), (other, asking) in itertools.product(PLACES.items(), PLACES.items()):
        readers = turn_readers(turn_with(kept), _audience(kept))
        seeker = search_readers(turn_with(asking), frozenset({account_of(asking)}), _audience(asking))
        assert bool(readers & seeker) == (one in FINDS[other]), (one, other)


def _audience(message: Message) -> Audience:
    place = message.place
    if place.get("shared"):
        return "outsiders"
    return "everyone" if place.get("open") or place.get("channel_kind") == "channel" else "members"
