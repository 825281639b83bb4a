"""Decisions on approval requests: who can decide, once, in time, and what the others are told."""

import asyncio
import json
from collections import Counter
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from bot.access.requests import Moderators
from bot.chat import Approval, Author, Decision, Message, Turn
from bot.inbox.intake import as_message
from tests.support.approval_requests import (
    ADA,
    BOB,
    EVE,
    PROPOSAL,
    QUESTION,
    SHOWN,
    THREAD,
    TURN,
    answer_to,
    approvals,
    decisions,
    message_by,
)


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
    assert isinstance(asked, Approval)
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
    assert isinstance(again, Approval)
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
    assert await Moderators(set(), kept.approvals.approvers, kept.store).can_stop(BOB, str(THREAD))
    assert not (await kept.decide("aaaaaaaa", BOB, approve=True)).is_known
    assert [each["id"] for each in (await kept.export([Author(ADA, "T1")]))["requests"]] == [PROPOSAL.id]
    await kept.withdraw(TURN.id, "the question was deleted")
    assert [each.verdict for each in await decisions(redis)] == ["rejected"]
    await kept.erase([Author(ADA, "T1")])
    assert await kept.find(PROPOSAL.id) is None


async def test_with_four_eyes_a_linked_account_is_the_same_person(redis: Redis) -> None:
    """The person who asks on Slack cannot approve on Discord."""

    async def linked(author: str, space: str) -> frozenset[str]:
        return frozenset({ADA, BOB}) if author == ADA and space == "T1" else frozenset({author})

    kept = approvals(redis, approvers={BOB, EVE}, four_eyes=True, same_person=linked)
    asked = await kept.ask(TURN, PROPOSAL)
    assert isinstance(asked, Approval)
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

    kept = approvals(redis, approvers={BOB, EVE}, four_eyes=True, same_person=linked)
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
    in_words = await answer_to(kept, message_by(f"approve {PROPOSAL.id}", by=EVE))
    assert in_words == decided.words
    for by in (ADA, BOB):
        assert SHOWN in (await kept.decide(PROPOSAL.id, by, approve=True)).words


async def test_after_its_time_it_is_nobodys_to_decide(redis: Redis) -> None:
    """A decision that comes too late makes it expire, for all; later ones are told so."""
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


async def test_what_somebody_has_asked_for_is_told_and_forgotten(redis: Redis) -> None:
    """Others' requests stay."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    others = replace(TURN, id="another", messages=(replace(QUESTION, author=EVE),))
    await kept.ask(others, replace(PROPOSAL, id="aaaaaaaa"))
    assert [each["id"] for each in (await kept.export([Author(ADA, "T1")]))["requests"]] == [PROPOSAL.id]
    await kept.erase([Author(ADA, "T1")])
    assert (await kept.export([Author(ADA, "T1")]))["requests"] == []
    assert await kept.find(PROPOSAL.id) is None
    assert [each["id"] for each in (await kept.export([Author(EVE, "T1")]))["requests"]] == ["aaaaaaaa"]


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
