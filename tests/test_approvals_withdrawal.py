"""Approval requests whose question changes, or whose decision hangs: they are taken back or given up."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from bot.chat import (
    Admit,
    Correction,
    Message,
    Notice,
    Part,
    Receipt,
    Stop,
    Text,
    ThreadEvent,
    Turn,
    Withdrawal,
)
from bot.inbox import Inbox, Lookup, note_hang, queries, serve
from bot.inbox.intake import as_message
from bot.turn import Turns
from tests.support.agents import FunctionAgent
from tests.support.approval_requests import (
    ADA,
    BOB,
    EVE,
    PROPOSAL,
    QUESTION,
    THREAD,
    TURN,
    approvals,
    decisions,
)
from tests.support.wait import wait_until

ENTRIES = "{bot}:approvals:about:*"


async def total_of_commands(redis: Redis) -> int:
    """Return the number of commands that Redis has run, with those of scripts."""
    return int(sum(each["calls"] for each in (await redis.info("commandstats")).values()))


async def test_a_question_that_is_edited_or_deleted_takes_its_requests_back(redis: Redis) -> None:
    """Else the old wording could still be approved; what others have asked stays."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    other = replace(TURN, id="another", messages=(replace(QUESTION, id="another"),))
    await kept.ask(other, replace(PROPOSAL, id="aaaaaaaa"))
    await kept.withdraw(TURN.id, "the question was edited")
    (decision,) = await decisions(redis)
    assert (decision.request, decision.verdict, decision.by) == (PROPOSAL.id, "rejected", ADA)
    assert decision.reason == "the question was edited"


async def test_an_edit_looks_at_no_requests_about_other_messages(redis: Redis) -> None:
    """Fault: it read each open one. The entry of a message ends with its request.

    Nor does a reaction that stops the answer to a message.
    """
    kept = approvals(redis)
    await kept.withdraw("another", "the question was edited")

    async def commands() -> int:
        before = await total_of_commands(redis)
        await kept.withdraw("another", "the question was edited")
        await kept.stop(Stop(by=ADA, message_id="another"), in_channel=True)
        return await total_of_commands(redis) - before

    alone = await commands()
    for number in range(50):
        by = replace(QUESTION, id=f"message {number}", author=f"slack:U{number}")
        proposal = replace(PROPOSAL, id=f"{number:08x}")
        await kept.ask(Turn(id=by.id, thread=THREAD, messages=(by,)), proposal)
    assert await commands() == alone
    assert len([each async for each in redis.scan_iter(ENTRIES)]) == 50
    for number in range(50):
        if number % 2:
            await kept.decide(f"{number:08x}", BOB, approve=True)
        else:
            await kept.withdraw(f"message {number}", "the question was edited")
    assert [each.verdict for each in await decisions(redis)].count("rejected") == 25
    assert not [each async for each in redis.scan_iter(ENTRIES)]


@pytest.mark.parametrize("has_questions", [True, False])
async def test_a_request_of_an_earlier_version_ends_with_an_edit_of_its_message(
    redis: Redis, has_questions: bool
) -> None:
    """It has no entry: one is made when a process first looks, and again a day later, should it run beside.

    A request that cannot be read keeps no other one.
    """
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    key = f"{{bot}}:approval:{PROPOSAL.id}"
    if not has_questions:
        stored = json.loads(await redis.hget(key, "request") or "")
        del stored["questions"]
        await redis.hset(key, "request", json.dumps(stored))
    for number, text in enumerate(("{", "[]", '{"approval": 1, "questions": []}')):
        await redis.hset(f"{{bot}}:approval:bad{number}", "request", text)
        await redis.zadd("{bot}:approvals", {f"bad{number}": time.time() + 60})
    await redis.delete(*[each async for each in redis.scan_iter(ENTRIES)])
    await kept.withdraw("another", "the question was edited")
    assert not await decisions(redis)
    await kept.withdraw(TURN.id, "the question was edited")
    assert [each.verdict for each in await decisions(redis)] == ["rejected"]
    async for each in redis.scan_iter("{bot}:approvals:*"):
        assert await redis.ttl(each) > 0


EDITED = replace(QUESTION, id=f"{QUESTION.id}:edit:5.0", corrects=QUESTION.id, edited_at=5.0)
BESIDE = replace(QUESTION, id="slack:T1:C1:2.2", author=EVE)


@pytest.mark.parametrize(
    ("messages", "changed"),
    [((EDITED,), QUESTION.id), ((QUESTION, BESIDE), QUESTION.id), ((QUESTION, BESIDE), BESIDE.id)],
    ids=["edited before", "first of two", "second of two"],
)
async def test_each_question_of_a_turn_takes_its_requests_back(
    redis: Redis, messages: tuple[Message, ...], changed: str
) -> None:
    """Fault: only the first message of a turn did, and none that had been edited once.

    What follows a decision belongs to the same questions.
    """
    kept = approvals(redis)
    await kept.ask(Turn(id=messages[0].id, thread=THREAD, messages=messages), PROPOSAL)
    await kept.decide(PROPOSAL.id, BOB, approve=True)
    (decision,) = await decisions(redis)
    message = as_message(decision)
    follows = replace(PROPOSAL, id="bbbbbbbb")
    await kept.ask(Turn(id=message.id, thread=THREAD, messages=(message,)), follows)
    await kept.ask(
        Turn(id=messages[0].id, thread=THREAD, messages=messages), replace(PROPOSAL, id="aaaaaaaa")
    )
    await kept.withdraw("another", "the question was deleted")
    assert len(await decisions(redis)) == 1
    await kept.withdraw(changed, "the question was deleted")
    rejected = {each.request for each in await decisions(redis) if each.verdict == "rejected"}
    assert rejected == {"aaaaaaaa", "bbbbbbbb"}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("deleted", [False, True])
async def test_what_an_answer_asks_for_after_its_question_was_changed_is_taken_back(
    redis: Redis, late: bool, deleted: bool
) -> None:
    """Fault: while the answer was under way there was no request yet, and then nobody looked again.

    Also when the change is heard of only after the request was made, which is later by the clock.
    """
    inbox = Inbox(redis, name="one", follow_days=1)
    kept = approvals(redis)
    changed: ThreadEvent = Correction(message=replace(QUESTION, text="take two"), edited_at=5.0)
    if deleted:
        changed = Withdrawal(message_id=QUESTION.id)

    async def change() -> None:
        await inbox.put(changed)
        await kept.withdraw(QUESTION.id, "it was changed", before=math.inf if deleted else 5.0)

    await inbox.put(replace(QUESTION, sent_at=time.time()))
    (lease,) = await inbox.enter() + await inbox.lease(1, 1)
    begun = await inbox.begin(lease)
    assert begun
    if not late:
        await change()
    assert await kept.ask(begun.turn, PROPOSAL)
    if late:
        assert not await decisions(redis)
        await change()
    assert [each.verdict for each in await decisions(redis)] == ["rejected"]
    if not deleted:
        await inbox.finish(lease, begun.turn)
        (lease,) = await inbox.lease(1, 1)
        begun = await inbox.begin(lease)
        assert begun
        await kept.ask(begun.turn, replace(PROPOSAL, id="aaaaaaaa"))
        await change()
        assert {each.request for each in await decisions(redis)} == {PROPOSAL.id}


async def test_a_decision_that_hangs_the_process_is_given_up_with_a_word(redis: Redis) -> None:
    """Fault: giving up was taken for a stop, which ends no decision: a third death, and no word."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    await kept.decide(PROPOSAL.id, BOB, approve=True)
    for _ in range(2):
        inbox = Inbox(redis, name="one", follow_days=1)
        (lease,) = await inbox.enter() + await inbox.lease(1, 1)
        begun = await inbox.begin(lease)
        assert begun
        await note_hang(redis, inbox, f"turn:{begun.turn.id}")
    place = _Place()
    agent = FunctionAgent(_runs_again, _says_from_the_ledger)
    turns = Turns(agent, lambda _: place, _AdmitsAll(), limit=60)
    stop = asyncio.Event()
    async with Lookup(redis).news("stop") as stops, asyncio.TaskGroup() as group:
        inbox = Inbox(redis, name="one", follow_days=1)
        group.create_task(serve(inbox, turns.run, limit=1, lease_seconds=5, grace=5, stop=stop, stops=stops))
        await wait_until(lambda: _is_dead(redis), "given up")
        stop.set()
    outcome, ending = place.parts
    assert outcome == Notice("It was not done.")
    assert isinstance(ending, Notice)
    assert ending.text.startswith("I stopped responding twice while working on this, so I gave up.")


class _Place:
    """A thread that keeps what is shown in it."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        self.parts += [part async for part in parts]


async def _runs_again(turn: Turn) -> AsyncIterator[Part]:
    yield Text("Done.")


class _AdmitsAll:
    async def check(self, message: Message) -> Admit:
        return Admit()


async def _says_from_the_ledger(turn: Turn, answer: str) -> Sequence[Part]:
    return [Notice("It was not done.")]


async def _is_dead(redis: Redis) -> bool:
    return bool(await queries.dead(redis))


async def test_an_edit_that_is_reported_again_rejects_nothing_that_its_answer_asked_for(redis: Redis) -> None:
    """Only an earlier wording was meant by it, whatever the clocks say."""
    kept = approvals(redis)
    edited_at = time.time() + 3600
    edited = replace(QUESTION, edited_at=edited_at)
    await kept.ask(replace(TURN, messages=(edited,)), PROPOSAL)
    await kept.withdraw(TURN.id, "the question was edited", before=edited_at)
    assert await decisions(redis) == []
    await kept.withdraw(TURN.id, "the question was edited", before=edited_at + 1)
    assert [each.verdict for each in await decisions(redis)] == ["rejected"]
