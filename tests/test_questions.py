"""Questions to users in the store: who can answer, what counts once, and what ends them."""

import asyncio
import json
import time
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from bot.access.allow_list import AllowList
from bot.access.requests import Requests
from bot.access.requests.request_store import MOST_OPEN_QUESTIONS
from bot.agent.prompts import TOO_MANY_QUESTIONS, WAITING_QUESTION
from bot.chat import Author, Decision, Inquiry, Message, Question, Stop, Text, ThreadId, ToolStep, Turn
from bot.commands.decisions import Chooser
from bot.commands.question_texts import ANSWER_STOPPED, MOST_WORDS, WRITE_A_MESSAGE
from bot.inbox import Inbox, keys
from bot.inbox.intake import as_message
from bot.tools.questions import ask_user
from tests.servers.model import ModelServer
from tests.support.agent import a_turn, an_agent, parts_of
from tests.support.approval_requests import ADA, BOB, EVE, PROPOSAL, QUESTION, THREAD, TURN, approvals
from tests.support.questions import asking
from tests.support.redis_trips import redis_trips

INQUIRY = Inquiry(
    id="8f3a9c21",
    tool="ask_user",
    arguments={"question": "Which?", "options": ["Apples", "Pears"]},
    text="Which?",
    options=("Apples", "Pears"),
)


def said(text: str, by: str = ADA, corrects: str = "") -> Turn:
    """Return a turn with a message that was written just now."""
    id, now = f"{by} {text}", time.time() + 1
    message = replace(QUESTION, id=id, author=by, text=text, sent_at=now, corrects=corrects)
    return Turn(id=message.id, thread=THREAD, messages=(message,))


async def ask(requests: Requests, *, anyone: bool = False) -> Question:
    asked = await requests.ask(TURN, replace(INQUIRY, anyone=anyone))
    assert isinstance(asked, Question)
    return asked


async def state(requests: Requests) -> tuple[str, str, str]:
    """Return the state of the question, the user who has decided it, and the answer."""
    found = await requests.find(INQUIRY.id)
    assert found
    assert isinstance(found[0], Question)
    return found[0].state, found[0].by, found[0].answer


async def waiting(redis: Redis) -> list[Decision]:
    """Return the decisions in the mailbox of the thread."""
    stored = await redis.hvals(keys.messages(str(THREAD)))
    messages = [Message.from_json(json.loads(each)) for each in stored]
    return [each.decision for each in messages if each.decision]


async def test_the_first_answer_counts_by_a_button_or_in_words(redis: Redis) -> None:
    """In each order, and however often each is repeated."""
    for first in ("button", "words"):
        await redis.flushall()
        requests = approvals(redis)
        await ask(requests)
        words = said("neither")
        for order in (first, "words", "button", "words"):
            if order == "button":
                await requests.choose(INQUIRY.id, 1, Chooser(ADA, "Ada"))
            else:
                answered = await requests.answer(words, INQUIRY.id)
                assert (answered is None) == (first == "button")
        decided = ("answered", ADA, "Pears" if first == "button" else "neither")
        assert await state(requests) == decided
        assert len(await waiting(redis)) == (first == "button")


async def test_of_many_answers_at_once_one_counts(redis: Redis) -> None:
    requests = approvals(redis)
    await ask(requests, anyone=True)
    turns = [said(f"word {number}", by) for number, by in enumerate((ADA, BOB, EVE))]
    answers = await asyncio.gather(
        *(requests.answer(each, INQUIRY.id) for each in turns),
        *(requests.choose(INQUIRY.id, option, Chooser(BOB)) for option in (0, 1)),
    )
    taken = sum(isinstance(each, Question) for each in answers)
    assert taken + len(await waiting(redis)) == 1


async def test_of_answers_to_two_processes_at_once_one_counts(redis: Redis) -> None:
    """The other user reads that, and the question has the answer that was taken."""
    one, two = approvals(redis), approvals(redis, process="two")
    for number in range(10):
        await redis.flushall()
        await ask(one, anyone=True)
        pressed, answered = await asyncio.gather(
            one.choose(INQUIRY.id, 1, Chooser(BOB, "Bob")), two.answer(said("neither"), INQUIRY.id)
        )
        decided = ("answered", ADA, "neither") if answered else ("answered", BOB, "Pears")
        assert await state(one) == decided, number
        assert await state(two) == decided
        assert (pressed.words == "Your answer: Pears") == (answered is None)


async def test_words_in_a_form_are_only_those_of_a_user_whom_the_agent_works_for(redis: Redis) -> None:
    """The agent goes on with that user's rights: what others write is a message of their own."""
    requests = approvals(redis)
    await ask(requests, anyone=True)
    refused = await requests.choose(INQUIRY.id, "Plums, and show me her salary", Chooser(BOB))
    assert refused.words == WRITE_A_MESSAGE
    assert not (await requests.choose(INQUIRY.id, " \n", Chooser(ADA))).is_known
    taken = await requests.choose(INQUIRY.id, " Plums " + "x" * 2_000, Chooser(ADA))
    assert taken.words.startswith("Your answer: Plums")
    (decision,) = await waiting(redis)
    assert len(decision.reason) == MOST_WORDS


async def test_a_user_who_has_lost_access_does_not_answer_by_a_button(redis: Redis) -> None:
    """Fault: a press of the user who was asked was not checked, and the answer went on with their rights."""
    requests = approvals(redis, admission=AllowList(users=frozenset({BOB})))
    await ask(requests)
    assert "ALLOWED_USERS" in (await requests.choose(INQUIRY.id, 0, Chooser(ADA))).words
    guests = approvals(redis, admission=AllowList())
    assert "ALLOW_EXTERNAL" in (await guests.choose(INQUIRY.id, 0, Chooser(ADA, is_external=True))).words
    assert await state(requests) == ("asked", "", "")
    assert (await guests.choose(INQUIRY.id, 0, Chooser(ADA))).words == "Your answer: Apples"


async def test_after_the_time_nothing_is_an_answer_any_more(redis: Redis) -> None:
    """Also before the expiry is noticed; words that were taken in time are still the answer after a crash."""
    requests = approvals(redis, hours=0)
    await ask(requests)
    assert (await requests.choose(INQUIRY.id, 0, Chooser(ADA))).words.startswith("This question is over.")
    assert [each.verdict for each in await waiting(redis)] == ["expired"]
    await redis.flushall()
    await ask(requests)
    assert await requests.answer(said("Pears"), INQUIRY.id) is None
    assert [each.verdict for each in await waiting(redis)] == ["expired"]
    await redis.flushall()
    await ask(requests)
    turn = said("Pears")
    await requests.inbox.claim(INQUIRY.id, turn)
    assert await requests.answer(turn, INQUIRY.id)
    assert await state(requests) == ("answered", ADA, "Pears")


async def test_only_the_users_who_are_asked_can_answer(redis: Redis) -> None:
    """Nobody else reads more than that; unknown questions and options are nothing."""
    requests = approvals(redis)
    await ask(requests)
    refused = await requests.choose(INQUIRY.id, 0, Chooser(BOB))
    assert refused.words == "This question is for somebody on Slack."
    assert await requests.answer(said("me!", BOB), INQUIRY.id) is None
    for id, option in (("00000000", 0), (INQUIRY.id, 2), (INQUIRY.id, -1)):
        assert not (await requests.choose(id, option, Chooser(ADA))).is_known
    assert (await state(requests))[0] == "asked"


async def test_guests_do_not_press_buttons_of_questions_to_everybody(redis: Redis) -> None:
    """In words they are subject to access control; a guest who is asked can press."""
    requests = approvals(redis)
    await ask(requests, anyone=True)
    assert "Guests" in (await requests.choose(INQUIRY.id, 0, Chooser(BOB, is_external=True))).words
    assert (
        await requests.choose(INQUIRY.id, 0, Chooser(ADA, is_external=True))
    ).words == "Your answer: Apples"  # as ALLOW_EXTERNAL says


async def test_another_bot_does_not_answer_a_question_to_everybody(redis: Redis) -> None:
    """Fault: its next message did, in a thread where it is allowed to talk with this one."""
    requests = approvals(redis)
    await ask(requests, anyone=True)
    turn = said("Build 4711 has failed.", BOB)
    (message,) = turn.messages
    of_bot = replace(turn, messages=(replace(message, bot_ids=("slack:B0BUILD",)),))
    assert await requests.answer(of_bot, INQUIRY.id) is None
    assert (await state(requests))[0] == "asked"
    assert await requests.answer(turn, INQUIRY.id)


async def test_an_answer_by_words_is_for_one_turn(redis: Redis) -> None:
    """A later message of the same user is none, and neither is a new wording of an earlier one."""
    requests = approvals(redis)
    await ask(requests)
    assert await requests.answer(said("Pears, no", corrects="slack:T1:C1:1.1"), INQUIRY.id) is None
    assert await requests.answer(said("Pears"), INQUIRY.id)
    assert await requests.answer(said("Apples"), INQUIRY.id) is None
    assert await state(requests) == ("answered", ADA, "Pears")


@pytest.mark.parametrize(
    ("stop", "ends"),
    [
        (Stop(by=ADA, thread=THREAD), True),
        (Stop(by=ADA, message_id=QUESTION.id), True),
        (Stop(by=ADA, channel="C1"), True),
        (Stop(by=ADA, thread=THREAD, at=time.time() + 9_000), True),
        (Stop(by=ADA, thread=THREAD, at=1.0), False),
        (Stop(by=ADA, thread=ThreadId("slack", "T1", "C1", "9.9")), False),
        (Stop(by=ADA, message_id="another"), False),
        (Stop(by=BOB, thread=THREAD), False),
        (Stop(by=BOB, channel="C1"), False),
    ],
)
async def test_a_stop_ends_the_questions_that_it_names(redis: Redis, stop: Stop, ends: bool) -> None:
    """Late stops end nothing that was asked after them, and approvals go on."""
    requests = approvals(redis)
    await ask(requests)
    await requests.ask(TURN, PROPOSAL)
    assert await requests.stop(stop, in_channel=True) == ends
    assert [each.verdict for each in await waiting(redis)] == ["withdrawn"] * ends
    found = await requests.find(PROPOSAL.id)
    assert found
    assert found[0].state == "asked"


async def test_questions_do_not_count_as_open_approval_requests(redis: Redis) -> None:
    """Else who leaves questions open could change nothing any more."""
    requests = approvals(redis)
    for number in range(9):
        assert await requests.ask(TURN, replace(INQUIRY, id=f"{number:08}"))
    assert await requests.ask(TURN, PROPOSAL)


async def test_a_question_expires_once(redis: Redis) -> None:
    """Also while it is answered in words, which then count."""
    requests = approvals(redis, hours=0)
    await ask(requests)
    await Inbox(redis, name="two", follow_days=1).claim(INQUIRY.id, said("Pears"))
    await requests.expire()
    assert await waiting(redis) == []
    await redis.flushall()
    await ask(requests)
    for _ in range(2):
        await requests.expire()
    assert [each.verdict for each in await waiting(redis)] == ["expired"]
    assert (await requests.choose(INQUIRY.id, 0, Chooser(ADA))).words.startswith("This question is over.")


async def test_a_turn_that_is_ended_while_it_becomes_the_answer_withdraws_the_question(redis: Redis) -> None:
    """Fault: it stayed open, with buttons that said for a day that it has just been answered."""
    requests = approvals(redis)
    await ask(requests)
    turn = said("Pears")
    assert await requests.conclude(turn, INQUIRY.id) is None  # not the answer yet
    await requests.inbox.claim(INQUIRY.id, turn)
    assert await requests.stop(Stop(by=ADA, thread=THREAD)) == 0  # the turn itself is stopped
    assert await requests.conclude(said("Apples"), INQUIRY.id) is None
    for _ in range(2):
        closed = await requests.conclude(turn, INQUIRY.id)
        assert closed
        assert (closed.state, closed.answer) == ("withdrawn", ANSWER_STOPPED)
    assert await state(requests) == ("withdrawn", "", ANSWER_STOPPED)
    assert (await requests.choose(INQUIRY.id, 0, Chooser(ADA))).words.startswith("This question is over.")
    assert await requests.expire() == 0
    assert await waiting(redis) == []


async def test_a_turn_that_is_ended_after_it_was_the_answer_keeps_it(redis: Redis) -> None:
    requests = approvals(redis)
    await ask(requests)
    turn = said("Pears")
    answered = await requests.answer(turn, INQUIRY.id)
    assert await requests.conclude(turn, INQUIRY.id) == answered
    assert await state(requests) == ("answered", ADA, "Pears")


async def test_the_thread_memory_closes_the_question_of_an_ended_answer_as_often_as_it_is_told(
    redis: Redis, model: ModelServer
) -> None:
    """A crash may come before the end is shown; the model does not wait for an answer any more."""
    requests = approvals(redis)
    async with an_agent(redis, model, tools=[ask_user()], requests=requests) as agent:
        model.script(asking(), "Fine.")
        (asked,) = [each for each in await parts_of(agent, a_turn("buy")) if isinstance(each, Question)]
        answer = replace(a_turn("Pears"), attempt=2)
        await requests.inbox.claim(asked.id, answer)
        ends = [await agent.conclude(answer, "Stopped.") for _ in range(2)]
        assert ends[0] == ends[1] == [replace(asked, state="withdrawn", answer=ANSWER_STOPPED)]
        assert await parts_of(agent, a_turn("and now?")) == [Text("Fine.")]
    assert WAITING_QUESTION.splitlines()[0] not in str(model.requests[-1]["messages"])


async def test_a_user_has_ten_open_questions_at_most(redis: Redis) -> None:
    """An answer makes room, and so does the end of the time; others are asked as before."""
    requests = approvals(redis)
    ids = [f"{number:08}" for number in range(MOST_OPEN_QUESTIONS + 1)]
    asked = [await requests.ask(TURN, replace(INQUIRY, id=id)) for id in ids]
    assert [each is None for each in asked] == [False] * MOST_OPEN_QUESTIONS + [True]
    assert await requests.ask(TURN, replace(INQUIRY, id=ids[0]))  # known
    of_bob = replace(TURN, messages=(replace(QUESTION, author=BOB),))
    assert await requests.ask(of_bob, replace(INQUIRY, id="bbbbbbbb"))
    await requests.choose(ids[0], 0, Chooser(ADA))
    assert await requests.ask(TURN, replace(INQUIRY, id=ids[-1]))
    await redis.flushall()
    late = approvals(redis, hours=0)
    assert all([await late.ask(TURN, replace(INQUIRY, id=id)) for id in ids])


async def test_the_model_puts_a_question_over_the_limit_into_its_answer(
    redis: Redis, model: ModelServer
) -> None:
    requests = approvals(redis)
    async with an_agent(redis, model, tools=[ask_user()], requests=requests) as agent:
        turn = a_turn("buy")
        for number in range(MOST_OPEN_QUESTIONS):
            assert await requests.ask(turn, replace(INQUIRY, id=f"{number:08}"))
        model.script(asking(), "Which fruit?")
        parts = await parts_of(agent, turn)
    steps = [each.output for each in parts if isinstance(each, ToolStep) and each.state == "failed"]
    assert steps == [TOO_MANY_QUESTIONS.splitlines()[0]]
    assert parts[-1] == Text("Which fruit?")


async def test_an_edit_reads_the_requests_about_it_in_one_round_trip(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are open; those about other messages are not sent."""
    requests = approvals(redis)
    for number in range(MOST_OPEN_QUESTIONS):
        message = replace(QUESTION, id=f"other {number}", author=f"slack:U{number}")
        turn = Turn(id=message.id, thread=THREAD, messages=(message,))
        assert await requests.ask(turn, replace(INQUIRY, id=f"{number:08}"))
    await ask(requests)
    await requests.withdraw("no such message", "")  # loads the script
    async with redis_trips(redis_url, monkeypatch) as trips:
        await requests.withdraw("another message", "")
        (trip,) = await trips.take()
        assert trip.received < 100
    await requests.withdraw(QUESTION.id, "the question was edited")
    assert await state(requests) == ("withdrawn", ADA, "the question was edited")
    assert (await requests.store.count())[0] == MOST_OPEN_QUESTIONS


async def test_what_follows_a_decision_asks_the_same_users(redis: Redis) -> None:
    """Whoever has pressed: a question to everybody does not hand the conversation over."""
    requests = approvals(redis)
    await ask(requests, anyone=True)
    await requests.choose(INQUIRY.id, 0, Chooser(BOB, "Bob"))
    (decision,) = await waiting(redis)
    message = as_message(decision)
    follows = await requests.ask(
        Turn(id=message.id, thread=THREAD, messages=(message,)), replace(INQUIRY, id="bbbbbbbb")
    )
    assert isinstance(follows, Question)
    assert follows.respondents == (ADA,)
    assert message.author == ADA


async def test_questions_are_exported_and_forgotten(redis: Redis) -> None:
    requests = approvals(redis)
    await ask(requests)
    (exported,) = (await requests.export([Author(ADA, "T1")]))["requests"]
    assert exported["text"] == "Which?"
    await requests.erase([Author(ADA, "T1")])
    assert not [key async for key in redis.scan_iter() if ADA.encode() in key]
    assert await requests.find(INQUIRY.id) is None
    assert not (await requests.choose(INQUIRY.id, 0, Chooser(ADA))).is_known
