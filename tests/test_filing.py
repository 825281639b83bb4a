"""Finished turns on their way into the long-term memory: one record each, unless a user is forgotten."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Author, Filing, LeaseLost, Message, Part, Receipt, Text, Turn
from bot.memory import AccountLinks, LongTermMemory, OfflineEmbeddings, digests
from bot.memory.embeddings import EmbeddingFailed, Vector
from bot.memory.filing import MOST_WAITING, STREAM, FinishedTurn
from bot.turn import Turns
from tests.servers.model import ModelServer
from tests.support.agent import a_turn, an_agent, text_of
from tests.support.agents import FunctionAgent
from tests.support.inbox import a_message, an_inbox, begin
from tests.support.memory import end, remember
from tests.support.one_turn import Conclusions, FunctionAdmission, RecordingThread, Store, a_halt, allow
from tests.support.redis_trips import redis_trips
from tests.support.turns import derive_audience, slack_dm, slack_message, turn_with

DAY = 24 * 3600
OFFLINE = OfflineEmbeddings()
ALICE, BOB = Author("slack:U1", "T1"), Author("slack:U2", "T1")


class Service:
    """Embedding service that counts its calls; it waits until it is open, or fails."""

    model = OFFLINE.model

    def __init__(self) -> None:
        self.calls = 0
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.is_down = False

    async def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        self.calls += 1
        self.asked.set()
        if self.is_down:
            raise EmbeddingFailed("down")
        await self.open.wait()
        return await OFFLINE.embed(texts)


def open_memory(redis: Redis, embeddings: Any = OFFLINE, *, days: float = 30) -> LongTermMemory:
    """Return the memory of one process."""
    return LongTermMemory(
        redis, embeddings, AccountLinks(redis), derive_audience, fact_days=days, turn_days=days
    )


@pytest.fixture
def memory(redis: Redis) -> LongTermMemory:
    """The memory of a process, on an empty Redis."""
    return open_memory(redis)


async def records(redis: Redis) -> list[str]:
    """Return the bodies of all records."""
    return [text(await redis.hget(key, "body")) for key in await redis.keys("recall:record:*")]


def text(value: Any) -> str:
    return str(value.decode())


async def waiting(redis: Redis) -> list[Any]:
    """Return the entries that wait."""
    entries: Any = await redis.xrange(STREAM)
    return list(entries)


# each turn has one record


async def test_a_turn_of_a_process_that_died_is_filed_by_another_one(
    redis: Redis, memory: LongTermMemory
) -> None:
    """If it only seemed dead, there is one record nevertheless."""
    await end(memory, turn_with(slack_message("What is a zeppelin?")), "An airship.")
    other = open_memory(redis)
    await other.filer.file_left()
    assert await records(redis) == []  # it may be alive
    await other.filer.file_left(idle_seconds=0)
    await memory.filer.file_own()
    assert len(await records(redis)) == 1
    assert await waiting(redis) == []
    found = await other.search(turn_with(slack_message()), "zeppelin")
    assert [(each.question, each.answer) for each in found.records] == [
        ("What is a zeppelin?", "An airship.")
    ]


async def test_what_waits_tells_as_much_as_what_the_process_remembers(
    redis: Redis, memory: LongTermMemory
) -> None:
    """The readers of a record do not depend on the process that files it."""
    messages = [
        slack_dm("private"),
        slack_message("open"),
        slack_message("closed", kind="group"),
        replace(slack_message("of a guest"), is_guest=True),
        replace(slack_message("of a stranger"), author_space="T9"),
        replace(slack_message("in a thread"), parent="C2", is_private_thread=True),
    ]
    for is_left in (False, True):
        process = open_memory(redis)
        for message in messages:
            await end(process if not is_left else memory, turn_with(message), "-")
        await (process.filer.file_left(0) if is_left else process.filer.file_own())
        kept = {key: await redis.hgetall(key) for key in await redis.keys("recall:record:*")}
        await redis.flushall()
        if not is_left:
            first = kept
    assert len(first) == len(messages)
    assert kept == first


async def test_a_turn_is_filed_before_the_process_ends(redis: Redis, memory: LongTermMemory) -> None:
    """Its vector follows, because a service may be slow."""
    service = Service()
    memory = open_memory(redis, service)
    async with memory.filer.in_background(gather_seconds=60):
        await end(memory, turn_with(slack_message("automobile")), "-")
    assert len(await records(redis)) == 1
    assert service.calls == 0
    assert await memory.store.without_vector(9)


async def test_a_service_that_fails_delays_no_record_and_is_not_asked_for_each(redis: Redis) -> None:
    """So what waits does not grow while it is away; the vectors come later."""
    service = Service()
    service.is_down = True
    memory = open_memory(redis, service)
    for number in range(3):
        await remember(memory, turn_with(slack_message(f"automobile {number}")), "-")
    assert service.calls == 1
    assert len(await records(redis)) == 3
    assert await waiting(redis) == []
    service.is_down = False
    service.open.set()
    await memory.filer.embed_missing()
    assert not await memory.store.without_vector(9)


async def test_a_bug_in_the_model_of_vectors_delays_no_record(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise one text could hold back all that wait with it."""
    memory = open_memory(redis)

    async def fail(texts: Sequence[str]) -> list[Vector | None]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(OFFLINE, "embed", fail)
    await remember(memory, turn_with(slack_message("automobile")), "-")
    assert len(await records(redis)) == 1


async def test_a_record_lives_as_long_from_the_turns_end_however_long_it_waited(redis: Redis) -> None:
    """An older turn gets no record."""
    memory = open_memory(redis, days=10)
    now = time.time()
    for age in (11, 4):
        finished = FinishedTurn(turn_with(slack_message(f"{age} days ago")), "-")
        await redis.xadd(STREAM, {"turn": finished.dump()}, id=f"{round((now - age * DAY) * 1000)}-0")
    await memory.filer.file_left()
    (key,) = await redis.keys("recall:record:*")
    assert 6 * DAY - 10 <= await redis.ttl(key) <= 6 * DAY + 1
    assert await waiting(redis) == []


@pytest.mark.parametrize(
    "stored", ["", "{}", "[]", '["id", {}, [], ""]', '["id", {"platform": "x"}, [{}], ""]']
)
async def test_what_cannot_be_read_is_removed_and_hinders_nothing(
    redis: Redis, memory: LongTermMemory, stored: str
) -> None:
    """Nobody could erase it."""
    await redis.xadd(STREAM, {"turn": stored})
    await end(memory, turn_with(slack_message("readable")), "-")
    await open_memory(redis).filer.file_left(0)
    assert len(await records(redis)) == 1
    assert await waiting(redis) == []


async def test_a_batch_is_one_pipeline(
    redis: Redis, redis_url: str, memory: LongTermMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five commands a record and no search; redis-py also checks whether Redis knows the script."""
    await remember(memory, turn_with(slack_message("makes the indices")), "-")
    for number in range(5):
        await end(memory, turn_with(slack_message(str(number))), "-")
    async with redis_trips(redis_url, monkeypatch) as trips:
        await memory.filer.file_own()
        taken = await trips.take()
    names = [[name for each in taken for name in each.names].count(name) for name in FILED]
    assert [len(taken), *names] == [1, *[5] * len(FILED)]
    assert sum(len(each.all_commands) for each in taken) == 5 * len(FILED)
    assert len(await records(redis)) == 6


FILED = ("EVALSHA", "XDEL", "DEL", "HSET", "EXPIRE")
"""Commands that file one turn."""


# nothing is filed of a user who was forgotten


async def test_what_waits_is_shown_and_exported(memory: LongTermMemory) -> None:
    """It is stored about the user, if only for a second."""
    turn = turn_with(slack_dm("a question"))
    await end(memory, turn, "an answer")
    (record,) = await memory.owners.records(digests([ALICE]))
    assert (record.question, record.answer) == ("a question", "an answer")
    assert await memory.owners.records(digests([BOB])) == []
    exported: Any = await memory.owners.export([ALICE])
    assert [each["you_wrote"] for each in exported["conversations"]] == [["a question"]]
    await memory.filer.file_own()
    assert await memory.owners.records(digests([ALICE])) == [record]


async def test_a_forgotten_turn_that_waits_is_filed_by_no_process(
    redis: Redis, memory: LongTermMemory
) -> None:
    """Neither by the process that has it in its own memory, nor by another one."""
    await end(memory, turn_with(slack_message("a secret")), "-")
    await open_memory(redis).owners.erase([ALICE])
    assert await waiting(redis) == []
    await memory.filer.file_own()
    await open_memory(redis).filer.file_left(0)
    assert await records(redis) == []


async def test_a_turn_that_is_forgotten_while_its_vector_is_made_gets_no_record(redis: Redis) -> None:
    """The step that stores the record finds that nothing waits any more."""
    service = Service()
    memory = open_memory(redis, service)
    await end(memory, turn_with(slack_message("a secret")), "-")
    filing = asyncio.create_task(memory.filer.file_own())
    await service.asked.wait()
    await memory.owners.erase([ALICE])
    service.open.set()
    await filing
    assert await records(redis) == []


async def test_words_of_others_in_the_same_turn_stay(redis: Redis, memory: LongTermMemory) -> None:
    """As in a record: without the answer, which is an answer to both."""
    turn = turn_with(slack_message("of Alice"), slack_message("of Bob", user="U2"))
    await end(memory, turn, "to both")
    await memory.owners.erase([ALICE])
    assert "Alice" not in str(await waiting(redis))
    await memory.filer.file_own()
    assert await records(redis) == []
    await memory.filer.file_left(0)
    (left,) = await memory.owners.records(digests([BOB]))
    assert left.question == "of Bob"
    assert left.answer == ""
    assert len(await records(redis)) == 1


async def test_quotes_and_files_do_not_wait(memory: LongTermMemory, redis: Redis) -> None:
    """Nothing is stored on the way to a record that the record does not have."""
    message = slack_message("look")
    data = message.to_json() | {
        "quotes": [{"source": "a message by Eve", "text": "words of Eve"}],
        "attachments": [{"name": "secret.txt", "media_type": "", "size": 1, "url": "https://x"}],
    }
    await end(memory, turn_with(Message.from_json(data)), "-")
    stored = str(await waiting(redis))
    assert "look" in stored
    assert "Eve" not in stored
    assert "secret.txt" not in stored


async def test_huge_texts_are_cut_before_they_wait(memory: LongTermMemory, redis: Redis) -> None:
    """A record has no more of them."""
    await end(memory, turn_with(slack_message("needle " + "straw " * 200_000)), "x" * 1_000_000)
    assert len(str(await waiting(redis))) < 50_000


# the end of a turn


def entry(added: list[str], text: str = "text", most: int = MOST_WAITING) -> Filing:
    return Filing(STREAM, text, most, added.append)


async def test_a_turn_waits_to_be_filed_from_its_end_on(redis: Redis) -> None:
    """In the same step, and only by the process that holds the lease."""
    inbox = an_inbox(redis)
    await inbox.put(a_message("hi"))
    lease, begun = await begin(inbox)
    added: list[str] = []
    with pytest.raises(LeaseLost):
        await inbox.finish(replace(lease, entry="1-1"), begun.turn, filing=entry(added))
    assert await waiting(redis) == []
    await inbox.finish(lease, begun.turn, filing=entry(added))
    (stored,) = await waiting(redis)
    assert added == [text(stored[0])]
    assert stored[1] == {b"turn": b"text"}


async def test_what_waits_is_bounded_even_if_nobody_files_it(redis: Redis) -> None:
    """The oldest go; Redis removes whole nodes of the stream, here one entry each."""
    inbox = an_inbox(redis)
    for number in range(5):
        await inbox.put(a_message(str(number)))
        lease, begun = await begin(inbox)
        await inbox.finish(lease, begun.turn, filing=entry([], f"{number}" * 5_000, most=2))
    assert [each[1][b"turn"][:1] for each in await waiting(redis)] == [b"3", b"4"]


class Writer:
    """Long-term memory that records what it is given."""

    def __init__(self) -> None:
        self.filed: list[tuple[str, str]] = []

    def filing(self, turn: Turn, answer: str) -> Filing:
        self.filed.append((turn.messages[0].text, answer))
        return entry([])


class AnsweringAgent(FunctionAgent):
    """Agent that answers, or knows its answer of an earlier attempt."""

    def __init__(self, earlier: str | None, error: Exception | None = None) -> None:
        super().__init__(self._answer_turn, Conclusions().conclude)
        self._earlier = earlier
        self._error = error

    async def _answer_turn(self, turn: Turn) -> AsyncIterator[Part]:
        yield Text("the ")
        if self._error:
            raise self._error
        yield Text("answer")

    async def find_answer(self, turn: Turn) -> str | None:
        return self._earlier


class FinishedThread:
    """Place where the answer was shown completely by an earlier attempt."""

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Read nothing."""


async def run_turn(
    thread: Any, agent: AnsweringAgent, attempt: int = 1, **state: Any
) -> tuple[Receipt, list[tuple[str, str]]]:
    writer, receipt = Writer(), Store().receipt(replace(a_turn("hi"), attempt=attempt))
    receipt.state |= state
    turns = Turns(agent, lambda _: thread, FunctionAdmission(allow), 60, memory=writer)
    await turns.run(receipt.turn, receipt, a_halt())
    return receipt, writer.filed


async def test_a_complete_answer_is_filed() -> None:
    """One that was not read to its end, or failed, is not."""
    receipt, filed = await run_turn(RecordingThread(), AnsweringAgent(None))
    assert receipt.filing
    assert filed == [("hi", "the answer")]
    assert (await run_turn(RecordingThread(limit=1), AnsweringAgent(None)))[1] == []
    assert (await run_turn(RecordingThread(), AnsweringAgent(None, RuntimeError())))[1] == []


async def test_an_answer_that_an_earlier_attempt_has_shown_is_filed_by_the_next_one() -> None:
    """The process died after the last message of the reply and before the end of the turn."""
    done = {"finished": True, "received": {}}
    assert (await run_turn(FinishedThread(), AnsweringAgent("earlier"), 2, **done))[1] == [("hi", "earlier")]
    assert (await run_turn(FinishedThread(), AnsweringAgent(None), 2, **done))[1] == []
    ended = {**done, "ending": "Stopped.", "said": []}
    assert (await run_turn(FinishedThread(), AnsweringAgent("earlier"), 2, **ended))[1] == []
    assert (await run_turn(RecordingThread(), AnsweringAgent("earlier"), 2))[1] == [("hi", "the answer")]


async def test_the_agent_finds_its_answer_without_asking_the_model_again(
    redis: Redis, model: ModelServer
) -> None:
    """An answer that is not complete is none."""
    model.script("It is blue.")
    turn = a_turn("colour?")
    async with an_agent(redis, model) as agent:
        assert await agent.find_answer(replace(turn, attempt=2)) is None
        assert await text_of(agent, turn) == "It is blue."
        assert await agent.find_answer(replace(turn, attempt=2)) == "It is blue."
        assert await agent.find_answer(replace(a_turn("another"), attempt=2)) is None
    assert len(model.requests) == 1


# authors


async def test_new_authors_of_a_thread_are_stored_with_the_first_of_their_messages(
    redis: Redis, redis_url: str, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one step, in which they come first: no words are in a memory that does not name their author.

    They are new again after half a day, before their entry expires, and where an earlier version has written.
    """
    memory, thread = open_memory(redis), str(a_turn("hi").thread)
    key, checkpoint = f"recall:authors:{thread}".encode(), f"checkpoint:{thread}".encode()

    async def are_stored(turn: Turn) -> bool:
        async with redis_trips(redis_url, monkeypatch) as trips:
            await text_of(agent, turn)
            steps = [[each[:2] for each in trip.all_commands] for trip in await trips.take()]
        first, last = [step for step in steps if (b"SET", checkpoint) in step]
        assert (b"HSET", key) not in last
        assert ((b"HSET", key) in first) == ((b"EXPIRE", key) in first)
        return (b"HSET", key) in first and first.index((b"HSET", key)) < first.index((b"SET", checkpoint))

    async def change_memory(seconds: int | None) -> None:
        """Change the time at which the authors were stored, or remove it."""
        stored = json.loads(await redis.get(checkpoint) or "")
        stored["authors_at"] = 0 if seconds is None else stored["authors_at"] + seconds
        await redis.set(checkpoint, json.dumps(stored))

    async with an_agent(redis, model, owners=memory.owners) as agent:
        assert [await are_stored(a_turn(each)) for each in ("one", "two")] == [True, False]
        bob = replace(a_turn("x").messages[0], author="test:bob")
        assert [await are_stored(turn_with(bob)), await are_stored(a_turn("three"))] == [True, False]
        for seconds in (None, -DAY // 2, DAY):  # the last one by a clock that was ahead
            await change_memory(seconds)
            assert [await are_stored(a_turn(f"{each} {seconds}")) for each in "ab"] == [True, False]
    assert {text(each) for each in await redis.hkeys(key)} == digests(
        [Author(each, "space") for each in ("test:ada", "test:bob")]
    )


async def test_whoever_writes_after_they_were_forgotten_is_named_again(
    redis: Redis, model: ModelServer
) -> None:
    """However soon, and also if the thread is forgotten only in part."""
    memory = open_memory(redis)
    async with an_agent(redis, model, owners=memory.owners) as agent:
        ann, bob = (a_turn(f"I am {name}") for name in ("Ann", "Bob"))
        others = replace(bob.messages[0], author="test:bob")
        bob = replace(bob, messages=(others,))
        ann_only = digests([Author("test:ada", "space")])
        for is_alone in (True, False):
            await text_of(agent, ann)
            if not is_alone:
                await text_of(agent, bob)
            (thread,) = await memory.owners.threads(ann_only)
            assert thread.is_alone == is_alone
            await agent.forget(thread.memory, ann_only, wholly=thread.is_alone)
            await memory.owners.forget_thread(thread, ann_only)
            assert await memory.owners.threads(ann_only) == []
        await text_of(agent, a_turn("I am back"))
        assert len(await memory.owners.threads(ann_only)) == 1


async def test_a_turn_that_ended_before_the_model_was_asked_names_its_authors(
    redis: Redis, model: ModelServer
) -> None:
    """Its messages enter the memory with the sentence that ended it."""
    memory, turn = open_memory(redis), a_turn("too much")
    async with an_agent(redis, model, owners=memory.owners) as agent:
        await agent.conclude(turn, "Stopped.")
    assert len(await memory.owners.threads(digests([Author("test:ada", "space")]))) == 1
