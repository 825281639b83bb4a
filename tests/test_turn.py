"""One turn: what the person is told, what is kept, and what is left to be tried again."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from bot.chat import (
    SIGN,
    Admit,
    AnswerError,
    Approval,
    BotError,
    BudgetSpent,
    CredentialsRejected,
    Decision,
    File,
    Halt,
    Ignore,
    Json,
    LeaseLost,
    Message,
    Notice,
    Part,
    PlatformError,
    RateLimited,
    Receipt,
    Refuse,
    StorageDown,
    Text,
    Thread,
    ThreadId,
    ToolStep,
    Turn,
    Undeliverable,
    Unreachable,
)
from bot.turn import Turns
from tests.support.agents import Answer, FunctionAgent

THREAD = ThreadId("test", "space", "channel")
STEP = ToolStep(id="1", name="sql_query", state="started", title="Query")


def a_message(text: str = "hi", author: str = "test:ada") -> Message:
    return Message(id=text, thread=THREAD, author=author, text=text, sent_at=0, addressed=True)


TURN = Turn(id="turn-1", thread=THREAD, messages=(a_message(),))


@dataclass
class ShownThread:
    """A place that keeps what it was given; stops early, or fails, after `limit` parts."""

    limit: int | None = None
    failure: Exception | None = None
    parts: list[Part] = field(default_factory=list)

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        async for part in parts:
            self.parts.append(part)
            if len(self.parts) == self.limit:
                break
        if self.failure:
            raise self.failure


class Agent:
    """Answers with what it is given, then fails if told so; counts its runs and knows when it was closed."""

    def __init__(self, *parts: Part, error: BaseException | None = None) -> None:
        self._parts = parts
        self._error = error
        self.runs = 0
        self.closed = False

    async def answer(self, turn: Turn) -> AsyncIterator[Part]:
        self.runs += 1
        try:
            for part in self._parts:
                yield part
            if self._error:
                raise self._error
        finally:
            self.closed = True


class Store:
    """Keeps the receipt's last state, as the inbox does."""

    def __init__(self, error: Exception | None = None) -> None:
        self.state: dict[str, Json] = {}
        self._error = error

    async def keep(self, state: Mapping[str, Json]) -> None:
        if self._error:
            raise self._error
        self.state = dict(state)

    def receipt(self, turn: Turn = TURN) -> Receipt:
        return Receipt(turn, self.keep, dict(self.state))


Check = Callable[[Message], Awaitable[Admit | Refuse | Ignore]]


async def allow(message: Message) -> Admit:
    return Admit()


class Admitting:
    """Implements `bot.chat.Admission` with a function."""

    def __init__(self, check: Check) -> None:
        self._check = check

    async def check(self, message: Message) -> Admit | Refuse | Ignore:
        return await self._check(message)


def a_halt(words: str = "") -> Halt:
    """One that is done when there are words to end with."""
    halt: Halt = asyncio.get_running_loop().create_future()
    if words:
        halt.set_result(words)
    return halt


class Conclusions:
    """Keeps what the agent's memory is told."""

    def __init__(self, outcome: str = "") -> None:
        self.told: list[str] = []
        self.outcome = outcome

    async def conclude(self, turn: Turn, answer: str) -> str:
        self.told.append(answer)
        return self.outcome


def some_turns(
    answer: Answer,
    find: Callable[[ThreadId], Thread],
    check: Check = allow,
    conclusions: Conclusions | None = None,
    limit: float = 60,
) -> Turns:
    agent = FunctionAgent(answer, (conclusions or Conclusions()).conclude)
    return Turns(agent, find, Admitting(check), limit)


async def take(
    answer: Answer,
    *,
    thread: ShownThread | None = None,
    store: Store | None = None,
    turn: Turn = TURN,
    check: Check = allow,
    halt: Halt | None = None,
    conclusions: Conclusions | None = None,
    limit: float = 60,
) -> Sequence[Part]:
    """Take one turn; returns what was shown."""
    shown = thread or ShownThread()
    find: Callable[[ThreadId], Thread] = {THREAD: shown}.__getitem__
    turns = some_turns(answer, find, check, conclusions, limit)
    await turns.take(turn, (store or Store()).receipt(turn), halt or a_halt())
    return shown.parts


async def test_answer_is_shown_as_it_is() -> None:
    """Without an error there is no notice, and nothing is kept about one."""
    store, agent = Store(), Agent(Text("a"), STEP, Text("b"))
    assert await take(agent.answer, store=store) == [Text("a"), STEP, Text("b")]
    assert store.state == {}
    assert agent.closed


async def test_an_answer_error_becomes_one_notice_and_is_kept() -> None:
    """The person reads the agent's own words, after what was there already."""
    store, agent = Store(), Agent(Text("So far"), error=AnswerError("The model is busy. Ask again later."))
    shown = await take(agent.answer, store=store)
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
    parts: list[Part] = [approval, STEP, Text("So far."), file, Notice("Hm.")]
    store, agent = Store(), Agent(*parts, error=AnswerError("Busy."))
    conclusions = Conclusions("It was done.")
    first = await take(agent.answer, store=store, conclusions=conclusions)
    store.state = json.loads(json.dumps(store.state))
    again = await take(agent.answer, store=store, conclusions=conclusions)
    assert first == again == [*parts, Notice("It was done."), Notice("Busy.")]
    assert agent.runs == 1


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
    assert await take(agent.answer, turn=turn, halt=a_halt("Stopped.")) == [Text("Done.")]


async def test_an_error_that_was_kept_is_told_again_without_asking_the_agent() -> None:
    """After a crash between keeping and showing it, the turn is not run a second time."""
    store, agent = Store(), Agent(Text("S"), Text("o "), STEP, Text("far"), error=AnswerError("Busy."))
    conclusions = Conclusions()
    await take(agent.answer, store=store)
    again = await take(agent.answer, store=store, conclusions=conclusions)
    assert again == [Text("So "), STEP, Text("far"), Notice("Busy.")]
    assert agent.runs == 1
    assert conclusions.told == ["So far\n\nBusy."]


async def test_a_file_that_was_shown_before_an_error_is_shown_again_with_it() -> None:
    """Its content is kept elsewhere; here it is as plain as all other parts."""
    file = File(id="0" * 32, name="a.csv", media_type="text/csv", size=3, alt="A list")
    store, agent = Store(), Agent(Text("Here"), file, error=AnswerError("Busy."))
    for _ in range(2):
        assert await take(agent.answer, store=store) == [Text("Here"), file, Notice("Busy.")]
    assert agent.runs == 1


def failures(parts: Sequence[Part]) -> list[int | None]:
    return [part.status for part in parts if isinstance(part, Notice)]


async def test_an_answer_that_failed_is_marked_by_a_status() -> None:
    """That of the error, 504 for one that took too long, 500 for a bug, none for a stop."""

    async def endless(turn: Turn) -> AsyncIterator[Part]:
        await asyncio.Event().wait()
        yield Text("never")

    for error, status in ((AnswerError("Busy.", status=503), 503), (BudgetSpent("Used up."), 429)):
        store = Store()
        for _ in range(2):
            assert failures(await take(Agent(error=error).answer, store=store)) == [status]
            store.state = json.loads(json.dumps(store.state))
    assert failures(await take(endless, limit=0.01)) == [504]
    assert failures(await take(Agent(error=ValueError("bug")).answer)) == [500]
    assert failures(await take(Agent(Text("a")).answer, halt=a_halt("Stopped."))) == [None]


async def test_the_error_is_kept_before_it_is_shown() -> None:
    """Else a crash in between would run the turn again, and perhaps show another answer."""
    store = Store()

    class KeptFirst(ShownThread):
        async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
            async for part in parts:
                if isinstance(part, Notice):
                    assert store.state == {"ending": "Busy.", "ending_status": 502, "said": []}
                self.parts.append(part)

    assert await take(Agent(error=AnswerError("Busy.")).answer, thread=KeptFirst(), store=store) == [
        Notice("Busy.")
    ]


async def test_keeping_the_error_leaves_what_the_platform_kept() -> None:
    """The receipt belongs to the platform, too."""
    store = Store()
    store.state = {"messages": ["17"]}
    await take(Agent(error=AnswerError("Busy.")).answer, store=store)
    assert store.state == {"messages": ["17"], "ending": "Busy.", "ending_status": 502, "said": []}


async def test_an_unexpected_error_is_told_by_a_reference_that_the_log_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The person gets no trace and none of the error's words; the operator gets all of it."""
    (notice,) = await take(Agent(error=ZeroDivisionError("in the secret vault")).answer)
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

    (notice,) = await take(broken)
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
    store, thread = Store(), ShownThread()
    with pytest.raises(type(error)) as caught:
        await take(Agent(Text("a"), error=error).answer, thread=thread, store=store)
    assert caught.value is error
    assert thread.parts == [Text("a")]
    assert store.state == {}


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
async def test_what_means_again_later_passes_from_the_reply(error: BotError) -> None:
    """An error of the platform is nothing that the platform could show."""
    store, agent = Store(), Agent(Text("a"), Text("b"))
    with pytest.raises(type(error)) as caught:
        await take(agent.answer, thread=ShownThread(limit=1, failure=error), store=store)
    assert caught.value is error
    assert store.state == {}
    assert agent.closed


async def test_losing_the_lease_while_an_error_is_kept_shows_nothing() -> None:
    """The new holder of the thread answers."""
    thread = ShownThread()
    with pytest.raises(LeaseLost):
        await take(
            Agent(error=AnswerError("Busy.")).answer, thread=thread, store=Store(LeaseLost("taken over"))
        )
    assert thread.parts == []


async def test_a_place_that_cannot_be_found_starts_no_agent() -> None:
    """Nothing is asked of the model when there is nowhere to answer."""
    agent = Agent(Text("a"))

    def nowhere(id: ThreadId) -> Thread:
        raise Unreachable("switched off in this process")

    with pytest.raises(Unreachable):
        await some_turns(agent.answer, nowhere).take(TURN, Store().receipt(), a_halt())
    assert agent.runs == 0


async def test_the_agent_is_closed_when_the_reply_stops_early() -> None:
    """Its model call must not run on unseen."""
    agent = Agent(Text("a"), Text("b"))
    assert await take(agent.answer, thread=ShownThread(limit=1)) == [Text("a")]
    assert agent.closed


async def refuse_eve(message: Message) -> Admit | Refuse:
    return Refuse("Not with you.") if message.author == "test:eve" else Admit()


async def test_a_refused_message_is_told_why_and_asks_no_agent() -> None:
    """The next attempt says the same."""
    store, agent = Store(), Agent(Text("a"))
    turn = Turn(id="turn-1", thread=THREAD, messages=(a_message("one", "test:eve"),))
    assert await take(agent.answer, store=store, turn=turn, check=refuse_eve) == [Notice("Not with you.")]
    assert store.state == {"received": {"one": "Not with you."}}
    assert await take(agent.answer, store=store, turn=turn) == [Notice("Not with you.")]
    assert agent.runs == 0


async def test_an_answer_that_has_begun_is_finished_although_its_message_would_be_refused_by_now() -> None:
    """Fault: a rate counts a message again after a minute, and a turn may be tried for hours."""
    store = Store()
    store.state = {"messages": ["17"]}
    turn = Turn(id="turn-1", thread=THREAD, messages=(a_message("one", "test:eve"),))
    assert await take(Agent(Text("a")).answer, store=store, turn=turn, check=refuse_eve) == [Text("a")]


async def test_a_turn_that_is_given_up_tells_nothing_to_who_may_not_talk() -> None:
    """The inbox knows how it ends, and not who may talk."""
    store, agent, conclusions = Store(), Agent(Text("a")), Conclusions()
    store.state = {"ending": "I gave up."}
    turn = Turn(id="turn-1", thread=THREAD, messages=(a_message("one", "test:eve"),))
    shown = await take(agent.answer, store=store, turn=turn, check=refuse_eve, conclusions=conclusions)
    assert shown == [Notice("Not with you.")]
    assert (agent.runs, conclusions.told) == (0, [])


async def test_one_who_may_not_talk_does_not_silence_the_others() -> None:
    """Of messages that wait together, the agent gets those of people who may talk."""
    asked: list[Turn] = []

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        asked.append(turn)
        yield Text("Hello, Ada.")

    messages = (a_message("one", "test:eve"), a_message("two"))
    turn = Turn(id="turn-1", thread=THREAD, messages=messages)
    assert await take(answer, turn=turn, check=refuse_eve) == [Notice("Not with you."), Text("Hello, Ada.")]
    assert [each.messages for each in asked] == [messages[1:]]


async def test_health_counts_the_turns_that_were_finished() -> None:
    """Finished turns of the last hour with their time; a turn that failed is none of them."""
    turns = some_turns(Agent(Text("a")).answer, lambda id: ShownThread())
    assert (await turns.durations.health()).evidence == {"last_hour": 0}
    began = time.monotonic()
    for _ in range(3):
        await turns.take(TURN, Store().receipt(), a_halt())
    took = round(time.monotonic() - began, 2)
    failing = some_turns(Agent(error=StorageDown("redis")).answer, lambda id: ShownThread())
    with pytest.raises(StorageDown):
        await failing.take(TURN, Store().receipt(), a_halt())
    health = await turns.durations.health()
    assert (health.name, health.state, health.evidence["last_hour"]) == ("turns", "ok", 3)
    assert 0 <= health.evidence["p50_s"] <= health.evidence["p99_s"] <= took
    assert (await failing.durations.health()).evidence == {"last_hour": 0}


class Endless:
    """An agent that says one thing and then thinks for ever; knows when it was closed."""

    def __init__(self, *, when_silent: Callable[[], None] = lambda: None) -> None:
        self._when_silent = when_silent
        self.closed = False

    async def answer(self, turn: Turn) -> AsyncIterator[Part]:
        try:
            yield Text("So far.")
            self._when_silent()
            await asyncio.Event().wait()
        finally:
            self.closed = True


async def test_a_halt_ends_the_turn_at_once_with_its_sentence() -> None:
    """The model's stream is closed, what was said stays, and the memory knows how it ended."""
    halt, store, conclusions = a_halt(), Store(), Conclusions()
    agent = Endless(when_silent=lambda: halt.set_result("Stopped."))
    shown = await take(agent.answer, halt=halt, store=store, conclusions=conclusions)
    assert shown == [Text("So far."), Notice("Stopped.")]
    assert agent.closed
    assert store.state == {"ending": "Stopped.", "said": [["Text", {"text": "So far."}]]}
    assert conclusions.told == ["So far.\n\nStopped."]


async def test_a_turn_that_was_halted_before_it_began_asks_no_agent() -> None:
    """Only the sentence is shown."""
    agent = Agent(Text("a"))
    assert await take(agent.answer, halt=a_halt("Stopped.")) == [Notice("Stopped.")]
    assert agent.runs == 0


async def test_a_turn_that_takes_too_long_is_ended_with_a_word() -> None:
    """The person is not left waiting, and learns what to do."""
    agent = Endless()
    said, notice = await take(agent.answer, limit=0.02)
    assert said == Text("So far.")
    assert isinstance(notice, Notice)
    assert "took longer than" in notice.text
    assert agent.closed


async def test_a_time_limit_inside_the_agent_is_no_halt(caplog: pytest.LogCaptureFixture) -> None:
    """A TimeoutError that the agent raises is a failure like any other."""
    (notice,) = await take(Agent(error=TimeoutError("the model")).answer)
    assert isinstance(notice, Notice)
    assert TURN.reference in notice.text
    assert "the model" in caplog.text


async def test_a_halt_after_the_end_changes_nothing() -> None:
    """Whoever stops too late stops nothing, also not the next turn."""
    halt = a_halt()
    assert await take(Agent(Text("a")).answer, halt=halt) == [Text("a")]
    halt.set_result("Stopped.")
    await asyncio.sleep(0)


async def test_a_halt_at_the_moment_of_the_end_is_no_error() -> None:
    """Fault: the log had a trace of a time limit that was over."""
    problems: list[dict[str, Json]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
    halt = a_halt()

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        yield Text("a")
        halt.set_result("Stopped.")

    assert await take(answer, halt=halt) == [Text("a")]
    await asyncio.sleep(0)
    assert problems == []


async def test_a_refusal_is_not_told_to_the_memory() -> None:
    """Who may not talk to the bot leaves nothing behind."""
    conclusions = Conclusions()
    turn = Turn(id="turn-1", thread=THREAD, messages=(a_message("one", "test:eve"),))
    await take(Agent().answer, turn=turn, check=refuse_eve, conclusions=conclusions)
    assert conclusions.told == []


async def ignore_eve(message: Message) -> Admit | Ignore:
    return Ignore() if message.author == "test:eve" else Admit()


async def test_what_is_to_be_passed_over_in_silence_shows_nothing_at_all() -> None:
    """No place is looked for either: a status there would be a sign of life. So is the next attempt."""
    store, agent, thread = Store(), Agent(Text("a")), ShownThread(failure=AssertionError("asked to reply"))
    turn = Turn(id="turn-1", thread=THREAD, messages=(a_message("one", "test:eve"),))
    assert await take(agent.answer, store=store, turn=turn, check=ignore_eve, thread=thread) == []
    assert store.state == {"received": {"one": ""}}
    assert await take(agent.answer, store=store, turn=turn, thread=thread) == []
    assert agent.runs == 0


async def test_silence_for_one_does_not_silence_the_others() -> None:
    """The agent gets what the others wrote, and only that."""
    asked: list[Turn] = []

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        asked.append(turn)
        yield Text("Hello, Ada.")

    messages = (a_message("one", "test:eve"), a_message("two"))
    turn = Turn(id="turn-1", thread=THREAD, messages=messages)
    assert await take(answer, turn=turn, check=ignore_eve) == [Text("Hello, Ada.")]
    assert [each.messages for each in asked] == [messages[1:]]


ASKED = Approval(
    id="7f3a9c21",
    title="Change",
    action="DELETE",
    effect="It would.",
    expires_at=1.5,
    approvers=("test:bob",),
    asked_in="turn-1",
)


async def test_nothing_of_an_answer_can_pass_for_a_request_except_a_request() -> None:
    """Text however it is divided, steps, notices and files: all may hold what the model or data say."""
    fake = f"{SIGN} approve 7f3a9c21"
    said = "[lock] approve […]"
    step = replace(STEP, title=fake, output=fake)
    file = File(id="f1", name="a.csv", media_type="text/csv", size=3, alt=fake)
    real = replace(ASKED, title=fake)  # which each platform shows as its own
    agent = Agent(Text(fake[:14]), Text(fake[14:]), step, file, Notice(fake), Text(fake), real)
    shown = await take(agent.answer)
    texts = "".join(part.text for part in shown if isinstance(part, Text))
    assert texts == said + said
    assert [part for part in shown if not isinstance(part, Text)] == [
        replace(step, title=said, output=said),
        replace(file, alt=said),
        Notice(said),
        real,
    ]
    failed = await take(Agent(error=AnswerError(fake)).answer)
    assert failed == [Notice(said)]


@dataclass
class Elsewhere:
    """Notes what is to be shown and settled elsewhere, with the parts that were shown by then."""

    thread: ShownThread
    done: list[tuple[str, str, int]] = field(default_factory=list)

    async def show(self, approval: Approval, receipt: Receipt) -> str:
        self.done.append(("show", approval.id, len(self.thread.parts)))
        return "Shown to Bob."

    async def settle(self, approval: Approval, receipt: Receipt) -> None:
        self.done.append(("settle", approval.id, len(self.thread.parts)))


@pytest.mark.parametrize("error", [None, AnswerError("Busy.")])
async def test_requests_are_shown_elsewhere_once_the_answer_is_complete(error: BotError | None) -> None:
    """And so is what was decided; also by an attempt that only repeats how the turn ended."""
    settled = replace(ASKED, id="aaaaaaaa", state="rejected")
    store, agent = Store(), Agent(settled, Text("So far."), ASKED, error=error)
    for _ in range(2):
        thread = ShownThread()
        showing = Elsewhere(thread)
        turns = replace(some_turns(agent.answer, {THREAD: thread}.__getitem__), showing=showing)
        await turns.take(TURN, store.receipt(), a_halt())
        assert showing.done == [("settle", "aaaaaaaa", 3), ("show", "7f3a9c21", 3)]
        ending = [Notice(str(error))] if error else []
        assert thread.parts == [settled, Text("So far."), ASKED, Notice("Shown to Bob."), *ending]
