"""Memory search on a real Redis with RediSearch."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from redis.asyncio import Redis
from redisvl.index import AsyncSearchIndex

from bot.tools import ThreadMemory, ToolFailure, open_pool, toolset
from bot.tools.words import indexed_terms, query_terms

THREAD = "slack:t1:c1:1700000000.000100"
DAY = 24 * 3600.0


@pytest.fixture
def memory(redis: Redis) -> ThreadMemory:
    """The memory on an empty Redis."""
    return ThreadMemory(redis, ttl_days=30)


async def questions(memory: ThreadMemory, thread: str, query: str, limit: int = 5) -> list[str]:
    """The questions of the turns that match, none for the newest ones that stand in for a match."""
    found = await memory.search(thread, query, limit)
    return [each.question for each in found.exchanges] if found.is_match else []


async def test_question_and_answer_are_found_by_their_words(memory: ThreadMemory) -> None:
    """Words of either side, in any case and number, common words aside."""
    await memory.remember(THREAD, "1", "What is the budget for zeppelins?", "It is 5,000 € this year.", DAY)
    await memory.remember(THREAD, "2", "Who leads the team?", "Ann does.", 2 * DAY)
    assert await questions(memory, THREAD, "what did we say about the ZEPPELIN") == [
        "What is the budget for zeppelins?"
    ]
    assert await questions(memory, THREAD, "ann") == ["Who leads the team?"]
    found = (await memory.search(THREAD, "5,000")).exchanges
    assert [(each.answer, each.asked_at) for each in found] == [("It is 5,000 € this year.", DAY)]


async def test_turn_that_holds_more_of_the_words_comes_first(memory: ThreadMemory) -> None:
    """Any of the words is enough; all of them is better; the limit is kept."""
    for number in range(8):
        await memory.remember(THREAD, str(number), f"red number {number}", "-", DAY)
    await memory.remember(THREAD, "best", "red balloons over Paris", "-", DAY)
    assert (await questions(memory, THREAD, "red balloons paris", limit=3))[0] == "red balloons over Paris"
    assert len(await questions(memory, THREAD, "red balloons", limit=3)) == 3


async def test_turn_is_remembered_once(memory: ThreadMemory, redis: Redis) -> None:
    """The same turn again, after a crash, replaces what was kept."""
    await memory.remember(THREAD, "1", "colour?", "perhaps green", DAY)
    await memory.remember(THREAD, "1", "colour?", "surely blue", DAY)
    assert len((await memory.search(THREAD, "colour")).exchanges) == 1
    assert await questions(memory, THREAD, "green") == []
    assert len(await redis.keys("thread_memory:*")) == 1


async def test_memory_ends_with_its_time(redis: Redis) -> None:
    """What is kept has a time limit from the start."""
    memory = ThreadMemory(redis, ttl_days=0.5)
    await memory.remember(THREAD, "1", "a", "b", DAY)
    (key,) = await redis.keys("thread_memory:*")
    assert 43_190 <= await redis.ttl(key) <= 43_200


THREADS = [
    "slack:t1:c1",
    "slack:t1:c1:1",
    "slack:t1:C1",
    "discord:t1:c1",
    "slack:t1:c2",
    "",
    " slack:t1:c1",
    "*",
]


@pytest.mark.parametrize("mine", THREADS)
async def test_no_thread_sees_another(memory: ThreadMemory, mine: str) -> None:
    """Names that are prefixes of each other, differ in case only, or look like a pattern are kept apart."""
    for thread in THREADS:
        await memory.remember(thread, "1", f"the secret of <{thread}>", "kept", DAY)
    assert await questions(memory, mine, "secret", limit=100) == [f"the secret of <{mine}>"]
    assert len((await memory.search(mine, "no such words", 100)).exchanges) == 1


ESCAPES = [
    "*",
    "secret) | (@thread:{*})",
    "secret)|(*",
    "@thread:{*}",
    "}) | @terms:(secret",
    '"secret" | secret',
    "-nothing",
    "secret*",
    "%secret%",
    "$param",
    "secret=>{$weight: 5}",
    "~secret",
    "w'*'",
    "@asked_at:[-inf +inf]",
    "secret\\) | (secret",
    "ismissing(@thread)",
    "secret\x00",
    "\u017fecret \uff53\uff45\uff43\uff52\uff45\uff54",
    "'; FLUSHALL; '",
    "\ud800 secret",
    "x" * 100_000,
    " ".join(f"word{number}" for number in range(5_000)) + " secret",
]


@pytest.mark.parametrize("query", ESCAPES, ids=lambda query: query[:30].encode("unicode_escape").decode())
async def test_query_cannot_leave_its_thread(memory: ThreadMemory, query: str) -> None:
    """RediSearch's syntax in a query is so many words."""
    await memory.remember("other", "1", "the secret of others", "secret", DAY)
    await memory.remember(THREAD, "1", "mine", "mine", DAY)
    found = await memory.search(THREAD, query, limit=100)
    assert {each.question for each in found.exchanges} == {"mine"}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40))
async def test_any_text_finds_itself(memory: ThreadMemory, text: str) -> None:
    """What was said is found by saying it again, in every script; text without words finds the newest."""
    await memory.remember("other", "1", text, "", DAY)
    await memory.remember(THREAD, "1", text, "", DAY)
    found = await memory.search(THREAD, text)
    assert len(found.exchanges) == 1
    assert found.is_match == bool(query_terms(text))


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("Das Büro ist in der Größenstraße", "BURO"),
        ("Das Büro ist in der Größenstraße", "größenstrasse"),
        ("Встреча в четверг", "ЧЕТВЕРГ"),
        ("το δωμάτιο είναι κλειστό", "ΔΩΜΑΤΙΟ"),
        ("今年は大阪に行きます", "大阪"),
        ("会议在星期四举行。地点是北京", "北京"),
        ("我喜欢猫", "猫"),
        ("회의는 목요일입니다", "회의는"),
        ("बैठक गुरुवार को है", "गुरुवार"),
        ("การประชุมวันพฤหัสบดี", "ประชุม"),
        ("الاجتماع يوم الخميس", "الخميس"),
        ("order_items has 12 rows", "items"),
        ("ticket ABC-123 is open", "abc-123"),
    ],
)
async def test_other_scripts_are_searched(memory: ThreadMemory, said: str, asked: str) -> None:
    """Case and accents do not count; scripts without spaces are searched inside their runs."""
    await memory.remember(THREAD, "1", said, "-", DAY)
    await memory.remember(THREAD, "2", "Привет hello 東京", "-", DAY)
    assert await questions(memory, THREAD, asked) == [said]


def test_common_words_count_only_when_alone() -> None:
    """A question is searched by the words that tell something."""
    assert query_terms("What did we decide about the budget?") == ["decide", "budget"]
    assert query_terms("to be or not to be") == ["to", "be", "or", "not"]
    assert query_terms("… !? 🎉") == []
    assert indexed_terms("Größe 東京") == ["grosse", "東", "京", "東京"]


async def test_without_a_match_the_newest_turns_are_told(memory: ThreadMemory) -> None:
    """Newest first, and marked as no match."""
    for day in range(1, 8):
        await memory.remember(THREAD, str(day), f"day {day}", "-", day * DAY)
    found = await memory.search(THREAD, "unheard", limit=3)
    assert not found.is_match
    assert [each.question for each in found.exchanges] == ["day 7", "day 6", "day 5"]


async def test_index_is_made_by_many_at_once(redis: Redis) -> None:
    """Processes that start together do not trip over each other."""
    memories = [ThreadMemory(redis, ttl_days=1) for _ in range(20)]
    for _ in range(5):  # in the first round connecting keeps them apart
        await redis.flushall()
        await asyncio.gather(*(each.search(THREAD, "x") for each in memories))


async def test_index_comes_back_after_flushall(memory: ThreadMemory, redis: Redis) -> None:
    """A Redis that was emptied is set up again by the next turn, or the next search."""
    await memory.remember(THREAD, "1", "before", "-", DAY)
    await redis.flushall()
    assert (await memory.search(THREAD, "before")).exchanges == ()
    await redis.flushall()
    await memory.remember(THREAD, "2", "after", "-", DAY)
    assert await questions(memory, THREAD, "after") == ["after"]


async def test_index_is_not_dropped_by_reading(memory: ThreadMemory, redis: Redis) -> None:
    """Using the memory again and again neither makes nor removes an index."""
    await memory.remember(THREAD, "1", "a", "b", DAY)
    await ThreadMemory(redis, ttl_days=1).search(THREAD, "a")
    assert await questions(memory, THREAD, "a") == ["a"]
    assert await AsyncSearchIndex.from_existing("thread_memory", redis_client=redis) is not None


async def test_huge_turn_is_kept_in_bounds(memory: ThreadMemory, redis: Redis) -> None:
    """A megabyte of text is cut; what is kept is searchable."""
    await memory.remember(THREAD, "1", "needle " + "straw " * 200_000, "x" * 1_000_000, DAY)
    (key,) = await redis.keys("thread_memory:*")
    assert (await redis.memory_usage(key) or 0) < 200_000
    assert len(await questions(memory, THREAD, "needle")) == 1


def configured(thread: str) -> RunnableConfig:
    """The configuration that the graph runs a tool with."""
    return {"configurable": {"thread_id": thread}}


@pytest.fixture
async def search(memory: ThreadMemory) -> BaseTool:
    """The tool `memory_search`; its database is not used."""
    async with open_pool("postgresql://127.0.0.1:1/none", size=1) as pool:
        return next(tool for tool in toolset(pool, memory) if tool.name == "memory_search")


async def test_tool_takes_its_thread_from_the_configuration(memory: ThreadMemory, search: BaseTool) -> None:
    """The model can neither see nor set the thread."""
    await memory.remember(THREAD, "1", "zeppelin?", "ours", 1_700_000_000)
    await memory.remember("other", "1", "zeppelin?", "theirs", 1_700_000_000)
    call = {
        "query": "zeppelin",
        "thread_id": "other",
        "thread": "other",
        "config": {"configurable": {"thread_id": "other"}},
    }
    text = await search.ainvoke(call, configured(THREAD))
    assert text.endswith("[2023-11-14 22:13 UTC] asked: zeppelin?\nanswered: ours")
    assert "theirs" not in text
    assert list(search.args) == ["query"]


async def test_tool_says_what_it_found(memory: ThreadMemory, search: BaseTool) -> None:
    """Nothing stored, no match and a match are told apart; long answers are shown around the match."""
    assert "Nothing earlier" in await search.ainvoke({"query": "x"}, configured(THREAD))
    await memory.remember(THREAD, "1", "story", "blah " * 1_000 + "needle" + " blah" * 1_000, DAY)
    assert "matches these words" in await search.ainvoke({"query": "zebra"}, configured(THREAD))
    text = await search.ainvoke({"query": "needle"}, configured(THREAD))
    assert "best match first" in text
    assert "needle" in text
    assert len(text) < 1_000


async def test_tool_tells_when_redis_is_gone() -> None:
    """The model is told to go on without it."""
    async with Redis.from_url("redis://127.0.0.1:1") as nowhere, open_pool("", size=1) as pool:
        search = toolset(pool, ThreadMemory(nowhere, ttl_days=1))[2]
        with pytest.raises(ToolFailure, match="go on without it"):
            await search.ainvoke({"query": "x"}, configured(THREAD))
