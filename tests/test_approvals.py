"""Approval requests: who can decide them, once, where, and what the others are told."""

import asyncio
import itertools
import json
import math
import re
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Set
from dataclasses import replace
from functools import partial

import pytest
from redis.asyncio import Redis

from bot.access.approvals import Approvals, Moderators, RequestStore
from bot.access.approvals.record import Record
from bot.access.approvals.request_store import MOST_OPEN
from bot.chat import (
    Admit,
    Correction,
    Decision,
    Event,
    Message,
    Notice,
    Part,
    Proposal,
    Receipt,
    Text,
    ThreadId,
    Turn,
    Withdrawal,
    Writer,
    parse_decision,
)
from bot.inbox import (
    Inbox,
    Lookup,
    is_current,
    keys,
    note_hang,
    queries,
    serve,
)
from bot.inbox.inbox import as_message
from bot.turn import Turns
from tests.support.agents import FunctionAgent
from tests.support.wait import wait_until

ADA, BOB, EVE = "slack:UADA", "discord:80351", "slack:UEVE"
THREAD = ThreadId("slack", "T1", "C1", "1.1")
QUESTION = Message(
    id="slack:T1:C1:1.1",
    thread=THREAD,
    author=ADA,
    text="take one",
    sent_at=1,
    addressed=True,
    channel="C1",
    place={"team": "T1", "ts": "1.1"},
)
TURN = Turn(id=QUESTION.id, thread=THREAD, messages=(QUESTION,))
PROPOSAL = Proposal(
    id="7f3a9c21",
    tool="sql_execute",
    arguments={"statement": "DELETE FROM shelf WHERE id = 1"},
    title="Change the database",
    action="DELETE FROM shelf WHERE id = 1",
    effect="It would delete 1 row of shelf.",
    facts={"rows": 1},
)

SHOWN = """\
🔏 **Change the database?** It would delete 1 row of shelf. Asked for by somebody on Slack.

```
DELETE FROM shelf WHERE id = 1
```"""
"""What every decision's answer repeats."""


def approvals(
    redis: Redis, *, approvers: Set[str] = frozenset({ADA, BOB}), hours: float = 1, four_eyes: bool = False
) -> Approvals:
    inbox = Inbox(redis, name="one", follow_days=1)
    return Approvals(RequestStore(redis), inbox.put, approvers, hours, four_eyes)


async def decisions(redis: Redis) -> list[Decision]:
    """What waits in the thread's mailbox."""
    stored = await redis.hvals(keys.messages(str(THREAD)))
    messages = [Message.from_json(json.loads(each)) for each in stored]
    return [message.decision for message in messages if message.decision]


async def test_asking_again_changes_nothing(redis: Redis) -> None:
    """Not even the time that is left: a crash gives nobody more of it."""
    first = await approvals(redis).ask(TURN, PROPOSAL)
    later = await approvals(redis, hours=9).ask(replace(TURN, attempt=2), PROPOSAL)
    assert first == later
    assert await approvals(redis).find(PROPOSAL.id) == (first, PROPOSAL)


async def test_a_decision_names_its_request_and_who_made_it(redis: Redis) -> None:
    """It waits in the thread where was asked, for the one who has asked."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    decided = await kept.decide(PROPOSAL.id, BOB, approve=False, reason="not today")
    assert (decided.words, decided.thread) == (f"Rejected.\n\n{SHOWN}", THREAD)
    (decision,) = await decisions(redis)
    assert (decision.verdict, decision.by, decision.reason) == ("rejected", BOB, "not today")
    assert (decision.asker, decision.channel, decision.place) == (ADA, QUESTION.channel, QUESTION.place)
    found = await kept.find(PROPOSAL.id)
    assert found
    assert (found[0].state, found[0].by) == ("rejected", BOB)


async def test_of_many_decisions_at_once_one_counts(redis: Redis) -> None:
    """Two people, two processes, both verdicts: one is told that it counts, the others that they are late."""
    await approvals(redis).ask(TURN, PROPOSAL)
    attempts = [
        approvals(redis).decide(PROPOSAL.id, by, approve=approve)
        for by in (ADA, BOB)
        for approve in (True, False)
        for _ in range(10)
    ]
    told = Counter(each.words for each in await asyncio.gather(*attempts))
    (decision,) = await decisions(redis)
    taken = f"{decision.verdict.capitalize()}."
    assert told.pop(f"{taken}\n\n{SHOWN}") == 1
    assert all(
        words.startswith(("This request was ", "This request has just been decided")) for words in told
    )


@pytest.mark.parametrize(
    ("by", "approve", "four_eyes", "refusal"),
    [
        (BOB, True, False, ""),
        (ADA, True, False, ""),
        (ADA, True, True, "somebody else has to approve"),
        (ADA, False, True, ""),
        (BOB, True, True, ""),
        (
            EVE,
            True,
            False,
            "You cannot decide on this request. Ask an approver on Discord or an approver on Slack.",
        ),
        (EVE, False, False, "You cannot decide on this request"),
        ("discord:UADA", True, False, "You cannot decide on this request"),
        ("slack:uada", True, False, "You cannot decide on this request"),
    ],
)
async def test_who_may_decide(redis: Redis, by: str, approve: bool, four_eyes: bool, refusal: str) -> None:
    """Ada has asked; Eve is nobody. A refusal says why, and whom to ask."""
    kept = approvals(redis, four_eyes=four_eyes)
    await kept.ask(TURN, PROPOSAL)
    decided = await kept.decide(PROPOSAL.id, by, approve=approve)
    assert refusal in decided.words
    assert (decided.thread is None) == bool(refusal)
    assert len(await decisions(redis)) == (not refusal)


async def test_who_asked_may_take_it_back_without_being_an_approver(redis: Redis) -> None:
    """To approve it is another matter."""
    kept = approvals(redis, approvers={BOB})
    await kept.ask(TURN, PROPOSAL)
    assert "You cannot decide" in (await kept.decide(PROPOSAL.id, ADA, approve=True)).words
    assert (await kept.decide(PROPOSAL.id, ADA, approve=False)).words == f"Rejected.\n\n{SHOWN}"


async def test_with_four_eyes_all_who_asked_together_are_askers(redis: Redis) -> None:
    """Their messages were answered as one turn."""
    kept = approvals(redis, approvers={ADA, BOB}, four_eyes=True)
    both = replace(TURN, messages=(QUESTION, replace(QUESTION, id="2", author=BOB)))
    asked = await kept.ask(both, PROPOSAL)
    assert asked
    assert asked.approvers == ()
    decided = await kept.decide(PROPOSAL.id, BOB, approve=True)
    assert "set APPROVERS" in decided.words


async def test_with_four_eyes_who_asked_stays_an_asker_of_what_follows(redis: Redis) -> None:
    """The turn that a decision begins is still theirs, all of theirs, and so is what it asks for."""
    kept = approvals(redis, approvers={ADA, BOB, EVE}, four_eyes=True)
    both = replace(TURN, messages=(QUESTION, replace(QUESTION, id="2", author=BOB)))
    await kept.ask(both, PROPOSAL)
    await kept.decide(PROPOSAL.id, EVE, approve=True)
    (decision,) = await decisions(redis)
    message = as_message(decision)
    again = await kept.ask(
        Turn(id=message.id, thread=THREAD, messages=(message,)), replace(PROPOSAL, id="bbbbbbbb")
    )
    assert again
    assert again.approvers == (EVE,)
    assert "somebody else" in (await kept.decide("bbbbbbbb", BOB, approve=True)).words


async def test_a_request_of_another_version_does_not_end_the_looking(redis: Redis) -> None:
    """It is left out, and the others expire."""
    kept = approvals(redis, hours=0)
    await kept.ask(TURN, PROPOSAL)
    await redis.hset("{bot}:approval:aaaaaaaa", "request", '{"approval": {"approvers": [], "new": 1}}')
    await redis.zadd("{bot}:approvals", {"aaaaaaaa": 0})
    assert await kept.expire() == 2
    assert len(await decisions(redis)) == 1
    assert await kept.expire() == 0


async def test_a_request_of_another_version_keeps_no_other_from_being_decided_or_forgotten(
    redis: Redis,
) -> None:
    """Fault: while it waited no edit, deletion or stop was taken, and nobody could be forgotten."""
    kept = approvals(redis)
    await redis.hset("{bot}:approval:aaaaaaaa", "request", '{"approval": {"approvers": [], "new": 1}}')
    await redis.zadd("{bot}:approvals", {"aaaaaaaa": 0})
    await kept.ask(TURN, PROPOSAL)
    assert await Moderators(set(), kept.approvers, kept.requests).can_stop(BOB, str(THREAD))
    assert not (await kept.decide("aaaaaaaa", BOB, approve=True)).is_known
    assert [each["id"] for each in (await kept.export([Writer(ADA, "T1")]))["requests"]] == [PROPOSAL.id]
    await kept.withdraw(TURN.id, "the question was deleted")
    assert [each.verdict for each in await decisions(redis)] == ["rejected"]
    await kept.erase([Writer(ADA, "T1")])
    assert await kept.find(PROPOSAL.id) is None


async def test_with_four_eyes_a_linked_account_is_the_same_person(redis: Redis) -> None:
    """Who asks on Slack does not approve on Discord."""

    async def linked(author: str, space: str) -> frozenset[str]:
        return frozenset({ADA, BOB}) if author == ADA and space == "T1" else frozenset({author})

    kept = replace(approvals(redis, approvers={BOB, EVE}, four_eyes=True), same_person=linked)
    asked = await kept.ask(TURN, PROPOSAL)
    assert asked
    assert asked.approvers == (EVE,)
    assert "somebody else" in (await kept.decide(PROPOSAL.id, BOB, approve=True)).words
    assert (await kept.decide(PROPOSAL.id, EVE, approve=True)).words.startswith("Approved.\n")


async def test_with_four_eyes_an_account_unlinked_meanwhile_stays_the_same_person(
    redis: Redis,
) -> None:
    """Fault: who asks on Slack unlinks the account on Discord, and approves there."""
    links = {ADA: frozenset({ADA, BOB})}

    async def linked(author: str, space: str) -> frozenset[str]:
        return links.get(author, frozenset({author}))

    kept = replace(approvals(redis, approvers={BOB, EVE}, four_eyes=True), same_person=linked)
    assert await kept.ask(TURN, PROPOSAL)
    links.clear()
    assert "somebody else" in (await kept.decide(PROPOSAL.id, BOB, approve=True)).words
    assert not await decisions(redis)


@pytest.mark.parametrize("hours", [1, 0])
async def test_who_may_not_see_a_request_does_not_learn_who_has_decided_it(
    redis: Redis, hours: float
) -> None:
    """Fault: whoever knew the id was told the verdict and the name; it reads like an id that nobody knows."""
    kept = approvals(redis, approvers={BOB}, hours=hours)
    await kept.ask(TURN, PROPOSAL)
    await kept.decide(PROPOSAL.id, BOB, approve=True, name="Bob")
    unknown = await kept.decide("00000000", EVE, approve=True)
    decided = await kept.decide(PROPOSAL.id, EVE, approve=True)
    assert decided == replace(unknown, words=unknown.words.replace("00000000", PROPOSAL.id))
    in_words = await answered(kept, said(f"approve {PROPOSAL.id}", by=EVE))
    assert in_words == decided.words
    for by in (ADA, BOB):
        assert SHOWN in (await kept.decide(PROPOSAL.id, by, approve=True)).words


async def test_after_its_time_it_is_nobodys_to_decide(redis: Redis) -> None:
    """Who comes too late makes it expire, for all; later ones are told so."""
    kept = approvals(redis, hours=0)
    await kept.ask(TURN, PROPOSAL)
    assert "expired" in (await kept.decide(PROPOSAL.id, BOB, approve=True)).words
    assert "expired" in (await kept.decide(PROPOSAL.id, ADA, approve=True)).words
    (decision,) = await decisions(redis)
    assert (decision.verdict, decision.by) == ("expired", "")


async def test_what_is_due_expires_once_over_all_processes(redis: Redis) -> None:
    """Each looks; what is decided already, or has time left, stays as it is."""
    await approvals(redis, hours=0).ask(TURN, PROPOSAL)
    await approvals(redis).ask(TURN, replace(PROPOSAL, id="aaaaaaaa"))
    await asyncio.gather(*(approvals(redis).expire() for _ in range(5)))
    (decision,) = await decisions(redis)
    assert (decision.request, decision.verdict) == (PROPOSAL.id, "expired")
    assert await approvals(redis).expire() == 0


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
    kept = replace(approvals(redis), is_current=partial(is_current, redis))
    changed: Event = Correction(message=replace(QUESTION, text="take two"), edited_at=5.0)
    if deleted:
        changed = Withdrawal(message_id=QUESTION.id)

    async def change() -> None:
        await inbox.put(changed)
        await kept.withdraw(QUESTION.id, "it was changed", before=math.inf if deleted else 5.0)

    await inbox.put(replace(QUESTION, sent_at=time.time()))
    (lease,) = await inbox.enter() + await inbox.take(1, 1)
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
        (lease,) = await inbox.take(1, 1)
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
        (lease,) = await inbox.enter() + await inbox.take(1, 1)
        begun = await inbox.begin(lease)
        assert begun
        await note_hang(redis, inbox, f"turn:{begun.turn.id}")
    place = _Place()
    agent = FunctionAgent(_runs_again, _says_from_the_ledger)
    turns = Turns(agent, lambda _: place, _AdmitsAll(), limit=60)
    stop = asyncio.Event()
    async with Lookup(redis).news("stop") as stops, asyncio.TaskGroup() as group:
        inbox = Inbox(redis, name="one", follow_days=1)
        group.create_task(serve(inbox, turns.take, limit=1, lease_seconds=5, grace=5, stop=stop, stops=stops))
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


async def _says_from_the_ledger(turn: Turn, answer: str) -> str:
    return "It was not done."


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


async def test_what_somebody_has_asked_for_is_told_and_forgotten(redis: Redis) -> None:
    """Others' requests stay."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    others = replace(TURN, id="another", messages=(replace(QUESTION, author=EVE),))
    await kept.ask(others, replace(PROPOSAL, id="aaaaaaaa"))
    assert [each["id"] for each in (await kept.export([Writer(ADA, "T1")]))["requests"]] == [PROPOSAL.id]
    await kept.erase([Writer(ADA, "T1")])
    assert (await kept.export([Writer(ADA, "T1")]))["requests"] == []
    assert await kept.find(PROPOSAL.id) is None
    assert [each["id"] for each in (await kept.export([Writer(EVE, "T1")]))["requests"]] == ["aaaaaaaa"]


async def test_nobody_knows_a_request_that_was_never_made(redis: Redis) -> None:
    """Nor one of another name that looks like it."""
    await approvals(redis).ask(TURN, PROPOSAL)
    for name in ("00000000", "7f3a9c2", "7F3A9C21", "*", ""):
        decided = await approvals(redis).decide(name, BOB, approve=True)
        assert not decided.is_known
        assert "There is no open request" in decided.words
    assert await decisions(redis) == []


def test_a_decision_survives_being_stored_as_json() -> None:
    """As the message that waits for its turn."""
    decision = Decision(
        request="7f3a9c21",
        verdict="approved",
        at=5.5,
        thread=THREAD,
        asker=ADA,
        summary="Change the database",
        channel="99",
        parent="80351",
        is_private_thread=True,
        place={"team": "T1"},
        by=BOB,
        reason="fine",
    )
    message = as_message(decision)
    assert Message.from_json(message.to_json()) == message
    assert message.decision == decision


async def test_a_request_of_an_older_version_is_decided_where_it_was_asked(redis: Redis) -> None:
    """Stored before an upgrade, with the channel in its `place`."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    (key,) = [each async for each in redis.scan_iter(f"*{PROPOSAL.id}*")]
    stored = json.loads(await redis.hget(key, "request") or b"")
    for name in ("channel", "parent", "is_private_thread"):
        del stored[name]
    stored["place"] |= {"channel": "99", "parent": "80351", "closed": "yes"}
    await redis.hset(key, "request", json.dumps(stored))
    await kept.decide(PROPOSAL.id, BOB, approve=True)
    (decision,) = await decisions(redis)
    assert (decision.channel, decision.parent, decision.is_private_thread) == ("99", "80351", True)
    assert decision.place == QUESTION.place


async def test_health_tells_what_waits_for_a_decision(redis: Redis) -> None:
    """And how soon it expires; without approvers there is nothing to wait for."""
    kept = approvals(redis)
    assert (await kept.health()).evidence == {"waiting": 0, "approvers": 2}
    await kept.ask(TURN, PROPOSAL)
    evidence = (await kept.health()).evidence
    assert evidence["waiting"] == 1
    assert 3500 < evidence["next_expires_in_s"] <= 3600
    await kept.decide(PROPOSAL.id, BOB, approve=True)
    assert (await kept.health()).evidence["waiting"] == 0
    assert (await approvals(redis, approvers=set()).health()).state == "off"


def said(text: str, by: str = BOB, thread: ThreadId = THREAD) -> Message:
    """A message of somebody in a thread."""
    return replace(QUESTION, id=f"{by} {text}", author=by, text=text, thread=thread, author_name="Bob")


async def answered(kept: Approvals, message: Message) -> str:
    """The answer to a decision in words."""
    order = parse_decision(message.text)
    assert order
    return await kept.decide_in_words(order, message)


def word_in(read_back: str) -> str:
    """The word that confirms a decision."""
    found = re.search(rf"`approve {PROPOSAL.id} (\d{{4}})`", read_back)
    assert found, read_back
    return found[1]


ELSEWHERE = ThreadId("discord", "dm", "5")


async def test_words_decide_where_the_request_is_shown(redis: Redis) -> None:
    """In the thread that asks, and below each copy; the answer repeats what was decided."""
    copy = ThreadId("slack", "T1", "D1", "9.9")
    for thread in (THREAD, copy):
        await redis.flushall()
        kept = approvals(redis)
        await kept.ask(TURN, PROPOSAL)
        await kept.note_shown(PROPOSAL.id, [copy])
        told = await answered(kept, said(f"approve {PROPOSAL.id}: fine", thread=thread))
        assert told == f"Approved.\n\n{SHOWN}"
        (decision,) = await decisions(redis)
        assert (decision.verdict, decision.by, decision.by_name) == ("approved", BOB, "Bob")
        assert decision.reason == "fine"


@pytest.mark.parametrize("verb", ["approve", "reject"])
async def test_words_elsewhere_are_answered_with_the_request_and_need_a_second_word(
    redis: Redis, verb: str
) -> None:
    """Blind approval: the statement, its effect and who asked come first. A redelivery changes nothing."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    blind = said(f"{verb} {PROPOSAL.id}", thread=ELSEWHERE)
    read_back = await answered(kept, blind)
    assert SHOWN in read_back
    assert await answered(kept, blind) == read_back
    assert await decisions(redis) == []
    told = await answered(kept, said(f"{verb} {PROPOSAL.id} {word_in(read_back)}", thread=ELSEWHERE))
    assert told.endswith(SHOWN)
    (decision,) = await decisions(redis)
    assert decision.verdict == {"approve": "approved", "reject": "rejected"}[verb]


async def test_the_second_word_is_for_one_person_one_place_and_one_request(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can be given one by others. Each of these is answered with a word of its own."""
    words = itertools.count(1000)
    monkeypatch.setattr(secrets, "randbelow", lambda _: next(words))
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    await kept.ask(TURN, replace(PROPOSAL, id="aaaaaaaa"))
    word = word_in(await answered(kept, said(f"approve {PROPOSAL.id}", thread=ELSEWHERE)))
    for other in (
        said(f"approve {PROPOSAL.id} {word}", ADA, ELSEWHERE),
        said(f"approve {PROPOSAL.id} {word}", BOB, replace(ELSEWHERE, channel="6")),
        said(f"approve {PROPOSAL.id} {word}", BOB, replace(ELSEWHERE, space="6")),
        said(f"approve {PROPOSAL.id} {word}", BOB, replace(ELSEWHERE, thread="6")),
        said(f"approve aaaaaaaa {word}", BOB, ELSEWHERE),
        said(f"approve {PROPOSAL.id} {word}0", BOB, ELSEWHERE),
        said(f"approve {PROPOSAL.id} {word} ?", BOB, ELSEWHERE),
        said(f"approve {PROPOSAL.id} {word} and that's all", BOB, ELSEWHERE),
    ):
        assert (await answered(kept, other)).startswith("Nothing is decided yet")
    assert await decisions(redis) == []
    assert (await answered(kept, said(f"approve {PROPOSAL.id} {word}.", BOB, ELSEWHERE))).endswith(SHOWN)


@pytest.mark.parametrize("rest", [" ?", " — no wait, don't", " if Carol agrees", "\nreject aaaaaaaa"])
async def test_what_is_no_clear_approval_is_read_back(redis: Redis, rest: str) -> None:
    """Also where the request is shown; then the clear words count."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    told = await answered(kept, said(f"approve {PROPOSAL.id}{rest}"))
    assert f"you wrote “{rest.strip()}” after the command" in told
    assert f"write `approve {PROPOSAL.id}` and nothing else" in told
    assert SHOWN in told
    assert await decisions(redis) == []
    assert (await answered(kept, said(f"`approve {PROPOSAL.id}`."))).startswith("Approved.")


async def test_who_may_not_decide_is_shown_nothing(redis: Redis) -> None:
    """Else a guessed id would tell what somebody has asked for in a direct message."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    for _ in range(2):
        for verb in ("approve", "reject"):
            told = await answered(kept, said(f"{verb} {PROPOSAL.id}", EVE, ELSEWHERE))
            assert "shelf" not in told
            assert "shelf" not in (await kept.decide(PROPOSAL.id, EVE, approve=True)).words
        await kept.decide(PROPOSAL.id, BOB, approve=True)


async def test_of_one_person_three_requests_are_open_at_most(redis: Redis) -> None:
    """Also when many are made at once, by linked accounts or with others; what is decided makes room."""

    async def linked(author: str, space: str) -> frozenset[str]:
        return frozenset({ADA, BOB}) if author in (ADA, BOB) else frozenset({author})

    kept = replace(approvals(redis), same_person=linked)
    of_bob = replace(TURN, messages=(replace(QUESTION, author=BOB),))
    both = replace(TURN, messages=(QUESTION, replace(QUESTION, author=EVE)))
    asked = await asyncio.gather(
        *(kept.ask(turn, replace(PROPOSAL, id=f"{n:08}")) for n, turn in enumerate([TURN, of_bob, both] * 3))
    )
    made = [each for each in asked if each]
    assert len(made) == MOST_OPEN
    assert await kept.ask(TURN, replace(PROPOSAL, id=made[0].id)) == made[0]  # again: it is open already
    assert await kept.ask(both, replace(PROPOSAL, id="aaaaaaaa")) is None
    await kept.decide(made[0].id, BOB, approve=False)
    assert await kept.ask(TURN, replace(PROPOSAL, id="aaaaaaaa"))
    of_eve = replace(TURN, messages=(replace(QUESTION, author="slack:UFRED"),))
    assert await kept.ask(of_eve, replace(PROPOSAL, id="bbbbbbbb"))


async def test_nothing_stays_for_ever_of_a_request_that_is_forgotten_while_it_is_read_back(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault: the word that confirms it stayed, with the id of who has written."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    find = Approvals._refusal

    async def forgotten(self: Approvals, record: Record, by: str, approve: bool) -> str | None:
        await self.erase([Writer(ADA, "T1")])
        return await find(self, record, by, approve)

    monkeypatch.setattr(Approvals, "_refusal", forgotten)
    assert "Nothing is decided yet" in await answered(kept, said(f"approve {PROPOSAL.id}", thread=ELSEWHERE))
    assert await redis.ttl(f"{{bot}}:approval:{PROPOSAL.id}") > 0


async def test_what_has_expired_or_is_forgotten_makes_room(redis: Redis) -> None:
    """No request counts for ever."""
    for hours in (0.0, 1.0):
        await redis.flushall()
        kept = approvals(redis, hours=hours)
        for number in range(MOST_OPEN):
            assert await kept.ask(TURN, replace(PROPOSAL, id=f"{number:08}"))
        if hours:
            await kept.erase([Writer(ADA, "T1")])
        assert await kept.ask(TURN, replace(PROPOSAL, id="aaaaaaaa"))


async def test_a_request_of_the_version_before_can_be_decided(redis: Redis) -> None:
    """It names who asked beside itself, and knows of no other places."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    key = f"{{bot}}:approval:{PROPOSAL.id}"
    stored = json.loads(await redis.hget(key, "request") or b"")
    del stored["people"], stored["approval"]["askers"], stored["approval"]["names"]
    await redis.hset(key, "request", json.dumps(stored))
    assert (await answered(kept, said(f"approve {PROPOSAL.id}"))) == f"Approved.\n\n{SHOWN}"
    assert len(await decisions(redis)) == 1
