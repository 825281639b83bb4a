"""One turn whose agent or reply fails: an error is told once and kept, or the turn is tried again later."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from bot.chat import (
    AnswerError,
    Approval,
    BotError,
    BudgetExceeded,
    CredentialsRejected,
    Decision,
    File,
    LeaseLost,
    Notice,
    Part,
    PlatformError,
    RateLimited,
    Receipt,
    StorageDown,
    Text,
    Thread,
    ThreadId,
    Turn,
    Undeliverable,
    Unreachable,
    pack_parts,
    unpack_parts,
)
from bot.chat.texts import STEP_STOPPED
from tests.support.one_turn import (
    STEP,
    THREAD,
    TURN,
    Agent,
    Conclusions,
    RecordingThread,
    Store,
    a_halt,
    run_turn,
    some_turns,
)


async def test_an_answer_error_becomes_one_notice_and_is_kept() -> None:
    """The person reads the agent's own words, after what was there already."""
    store, agent = Store(), Agent(Text("So far"), error=AnswerError("The model is busy. Ask again later."))
    shown = await run_turn(agent.answer, store=store)
    assert shown == [Text("So far"), Notice("The model is busy. Ask again later.")]
    assert store.state == {
        "ending": "The model is busy. Ask again later.",
        "ending_status": 502,
        "said": [["Text", {"text": "So far"}]],
    }


async def test_whatever_was_shown_is_shown_again_after_a_crash() -> None:
    """Every kind of part survives being kept, a decided request and a file among them."""
    approval = Approval(
        id="7f3a9c21",
        title="Change",
        action="DELETE",
        effect="It would.",
        expires_at=1.5,
        approvers=("test:ada", "test:bob"),
        asked_in="turn-0",
        state="approved",
        by="test:ada",
    )
    file = File(id="f1", name="a.csv", media_type="text/csv", size=3, alt="rows")
    ended = replace(STEP, id="2", state="finished", activity="Running", rows=3, seconds=0.4)
    parts: list[Part] = [approval, STEP, Text("So far."), ended, file, Notice("Hm.")]
    store, agent = Store(), Agent(*parts, error=AnswerError("Busy."))
    conclusions = Conclusions("It was done.")
    first = await run_turn(agent.answer, store=store, conclusions=conclusions)
    store.state = json.loads(json.dumps(store.state))
    again = await run_turn(agent.answer, store=store, conclusions=conclusions)
    closed = replace(STEP, state="failed", output=STEP_STOPPED)
    assert first == again == [*parts, closed, Notice("It was done."), Notice("Busy.")]
    assert agent.runs == 1


def test_an_earlier_version_reads_the_parts_that_a_receipt_holds() -> None:
    """Processes of two versions run side by side while one replaces the other; new figures lie apart."""
    stored = pack_parts([Text("a"), Text("b"), replace(STEP, rows=3, seconds=0.4)])
    assert stored["said"] == [
        ["Text", {"text": "ab"}],
        ["ToolStep", {"id": "1", "name": "sql_query", "state": "started", "title": "Query", "output": ""}],
    ]
    assert unpack_parts({"said": stored["said"]}) == [Text("ab"), STEP]


async def test_a_decision_is_carried_out_although_somebody_has_said_stop() -> None:
    """A stop is for answers: what was approved before it must not vanish without a word."""
    decided = Decision(
        request="r",
        verdict="approved",
        at=0,
        thread=THREAD,
        asker="test:ada",
        summary="Change",
        place={},
    )
    turn = replace(TURN, messages=(replace(TURN.messages[0], decision=decided),))
    agent = Agent(Text("Done."))
    assert await run_turn(agent.answer, turn=turn, halt=a_halt("Stopped.")) == [Text("Done.")]


async def test_an_error_that_was_kept_is_told_again_without_asking_the_agent() -> None:
    """After a crash between keeping and showing it, the turn is not run a second time."""
    store, agent = Store(), Agent(Text("S"), Text("o "), STEP, Text("far"), error=AnswerError("Busy."))
    conclusions = Conclusions()
    await run_turn(agent.answer, store=store)
    again = await run_turn(agent.answer, store=store, conclusions=conclusions)
    closed = replace(STEP, state="failed", output=STEP_STOPPED)
    assert again == [Text("So "), STEP, Text("far"), closed, Notice("Busy.")]
    assert agent.runs == 1
    assert conclusions.texts == ["So far\n\nBusy."]


async def test_a_file_that_was_shown_before_an_error_is_shown_again_with_it() -> None:
    """Its content is kept elsewhere; here it is as plain as all other parts."""
    file = File(id="0" * 32, name="a.csv", media_type="text/csv", size=3, alt="A list")
    store, agent = Store(), Agent(Text("Here"), file, error=AnswerError("Busy."))
    for _ in range(2):
        assert await run_turn(agent.answer, store=store) == [Text("Here"), file, Notice("Busy.")]
    assert agent.runs == 1


def failures(parts: Sequence[Part]) -> list[int | None]:
    return [part.status for part in parts if isinstance(part, Notice)]


async def test_an_answer_that_failed_is_marked_by_a_status() -> None:
    """That of the error, 504 for one that took too long, 500 for a bug, none for a stop."""

    async def endless(turn: Turn) -> AsyncIterator[Part]:
        await asyncio.Event().wait()
        yield Text("never")

    for error, status in ((AnswerError("Busy.", status=503), 503), (BudgetExceeded("Used up."), 429)):
        store = Store()
        for _ in range(2):
            assert failures(await run_turn(Agent(error=error).answer, store=store)) == [status]
            store.state = json.loads(json.dumps(store.state))
    assert failures(await run_turn(endless, limit=0.01)) == [504]
    assert failures(await run_turn(Agent(error=ValueError("bug")).answer)) == [500]
    assert failures(await run_turn(Agent(Text("a")).answer, halt=a_halt("Stopped."))) == [None]


async def test_the_error_is_kept_before_it_is_shown() -> None:
    """Else a crash in between would run the turn again, and perhaps show another answer."""
    store = Store()

    class KeptFirst(RecordingThread):
        async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
            async for part in parts:
                if isinstance(part, Notice):
                    assert store.state == {"ending": "Busy.", "ending_status": 502, "said": []}
                self.parts.append(part)

    assert await run_turn(Agent(error=AnswerError("Busy.")).answer, thread=KeptFirst(), store=store) == [
        Notice("Busy.")
    ]


async def test_keeping_the_error_leaves_what_the_platform_kept() -> None:
    """The receipt belongs to the platform, too."""
    store = Store()
    store.state = {"messages": ["17"]}
    await run_turn(Agent(error=AnswerError("Busy.")).answer, store=store)
    assert store.state == {"messages": ["17"], "ending": "Busy.", "ending_status": 502, "said": []}


async def test_an_unexpected_error_is_told_by_a_reference_that_the_log_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The person gets no trace and none of the error's words; the operator gets all of it."""
    (notice,) = await run_turn(Agent(error=ZeroDivisionError("in the secret vault")).answer)
    assert isinstance(notice, Notice)
    reference = TURN.reference
    assert reference in notice.text
    assert not [word for word in ("ZeroDivision", "vault", "Traceback", ".py") if word in notice.text]
    (record,) = [each for each in caplog.records if each.exc_info]
    assert getattr(record, "reference", None) == reference
    assert record.levelno == logging.ERROR
    assert "in the secret vault" in caplog.text


async def test_an_agent_that_fails_at_the_call_is_no_different(caplog: pytest.LogCaptureFixture) -> None:
    """Also before there is anything to iterate over."""

    def broken(turn: Turn) -> AsyncIterator[Part]:
        raise RuntimeError("no graph")

    (notice,) = await run_turn(broken)
    assert TURN.reference in getattr(notice, "text", "")
    assert "no graph" in caplog.text


def test_references_differ_between_turns_and_stay_the_same_for_one() -> None:
    """So that a person's quote leads to one turn, whatever attempt it was."""
    other = Turn(id="turn-2", thread=THREAD, messages=TURN.messages)
    again = Turn(id="turn-1", thread=THREAD, messages=TURN.messages, attempt=5)
    assert TURN.reference == again.reference != other.reference


PASSING = [
    PlatformError("refused"),
    RateLimited("slow down", 3),
    Unreachable("no route"),
    Undeliverable("channel gone"),
    CredentialsRejected("token"),
    StorageDown("redis"),
    LeaseLost("thread"),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
async def test_what_means_again_later_passes_from_the_agent(error: BotError) -> None:
    """It is not told, and not kept: the turn will be tried again, or belongs to somebody else."""
    store, thread = Store(), RecordingThread()
    with pytest.raises(type(error)) as caught:
        await run_turn(Agent(Text("a"), error=error).answer, thread=thread, store=store)
    assert caught.value is error
    assert thread.parts == [Text("a")]
    assert store.state == {}


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
async def test_what_means_again_later_passes_from_the_reply(error: BotError) -> None:
    """An error of the platform is nothing that the platform could show."""
    store, agent = Store(), Agent(Text("a"), Text("b"))
    with pytest.raises(type(error)) as caught:
        await run_turn(agent.answer, thread=RecordingThread(limit=1, failure=error), store=store)
    assert caught.value is error
    assert store.state == {}
    assert agent.closed


async def test_losing_the_lease_while_an_error_is_kept_shows_nothing() -> None:
    """The new holder of the thread answers."""
    thread = RecordingThread()
    with pytest.raises(LeaseLost):
        await run_turn(
            Agent(error=AnswerError("Busy.")).answer, thread=thread, store=Store(LeaseLost("taken over"))
        )
    assert thread.parts == []


async def test_a_place_that_cannot_be_found_starts_no_agent() -> None:
    """Nothing is asked of the model when there is nowhere to answer."""
    agent = Agent(Text("a"))

    def nowhere(id: ThreadId) -> Thread:
        raise Unreachable("switched off in this process")

    with pytest.raises(Unreachable):
        await some_turns(agent.answer, nowhere).run(TURN, Store().receipt(), a_halt())
    assert agent.runs == 0


async def test_the_agent_is_closed_when_the_reply_stops_early() -> None:
    """Its model call must not run on unseen."""
    agent = Agent(Text("a"), Text("b"))
    assert await run_turn(agent.answer, thread=RecordingThread(limit=1)) == [Text("a")]
    assert agent.closed
