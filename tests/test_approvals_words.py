"""Approval by words: at once where the request is shown, elsewhere after a second word."""

import asyncio
import itertools
import json
import re
import secrets
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from bot.access.requests import ApprovalRules
from bot.access.requests.record import RequestRecord
from bot.access.requests.request_store import MOST_OPEN
from bot.chat import Approval, Author, ThreadId
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
        told = await answer_to(kept, message_by(f"approve {PROPOSAL.id}: fine", thread=thread))
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
    blind = message_by(f"{verb} {PROPOSAL.id}", thread=ELSEWHERE)
    read_back = await answer_to(kept, blind)
    assert SHOWN in read_back
    assert await answer_to(kept, blind) == read_back
    assert await decisions(redis) == []
    told = await answer_to(kept, message_by(f"{verb} {PROPOSAL.id} {word_in(read_back)}", thread=ELSEWHERE))
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
    word = word_in(await answer_to(kept, message_by(f"approve {PROPOSAL.id}", thread=ELSEWHERE)))
    for other in (
        message_by(f"approve {PROPOSAL.id} {word}", ADA, ELSEWHERE),
        message_by(f"approve {PROPOSAL.id} {word}", BOB, replace(ELSEWHERE, channel="6")),
        message_by(f"approve {PROPOSAL.id} {word}", BOB, replace(ELSEWHERE, space="6")),
        message_by(f"approve {PROPOSAL.id} {word}", BOB, replace(ELSEWHERE, thread="6")),
        message_by(f"approve aaaaaaaa {word}", BOB, ELSEWHERE),
        message_by(f"approve {PROPOSAL.id} {word}0", BOB, ELSEWHERE),
        message_by(f"approve {PROPOSAL.id} {word} ?", BOB, ELSEWHERE),
        message_by(f"approve {PROPOSAL.id} {word} and that's all", BOB, ELSEWHERE),
    ):
        assert (await answer_to(kept, other)).startswith("Nothing is decided yet")
    assert await decisions(redis) == []
    assert (await answer_to(kept, message_by(f"approve {PROPOSAL.id} {word}.", BOB, ELSEWHERE))).endswith(
        SHOWN
    )


@pytest.mark.parametrize("rest", [" ?", " — no wait, don't", " if Carol agrees", "\nreject aaaaaaaa"])
async def test_what_is_no_clear_approval_is_read_back(redis: Redis, rest: str) -> None:
    """Also where the request is shown; then the clear words count."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    told = await answer_to(kept, message_by(f"approve {PROPOSAL.id}{rest}"))
    assert f"you wrote “{rest.strip()}” after the command" in told
    assert f"write `approve {PROPOSAL.id}` and nothing else" in told
    assert SHOWN in told
    assert await decisions(redis) == []
    assert (await answer_to(kept, message_by(f"`approve {PROPOSAL.id}`."))).startswith("Approved.")


async def test_who_may_not_decide_is_shown_nothing(redis: Redis) -> None:
    """Else a guessed id would tell what somebody has asked for in a direct message."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    for _ in range(2):
        for verb in ("approve", "reject"):
            told = await answer_to(kept, message_by(f"{verb} {PROPOSAL.id}", EVE, ELSEWHERE))
            assert "shelf" not in told
            assert "shelf" not in (await kept.decide(PROPOSAL.id, EVE, approve=True)).words
        await kept.decide(PROPOSAL.id, BOB, approve=True)


async def test_of_one_person_three_requests_are_open_at_most(redis: Redis) -> None:
    """Also when many are made at once, by linked accounts or with others; what is decided makes room."""

    async def linked(author: str, space: str) -> frozenset[str]:
        return frozenset({ADA, BOB}) if author in (ADA, BOB) else frozenset({author})

    kept = approvals(redis, same_person=linked)
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
    find = ApprovalRules.refusal

    async def forgotten(
        self: ApprovalRules, record: RequestRecord, approval: Approval, by: str, *, approve: bool
    ) -> str | None:
        await kept.erase([Author(ADA, "T1")])
        return await find(self, record, approval, by, approve=approve)

    monkeypatch.setattr(ApprovalRules, "refusal", forgotten)
    assert "Nothing is decided yet" in await answer_to(
        kept, message_by(f"approve {PROPOSAL.id}", thread=ELSEWHERE)
    )
    assert await redis.ttl(f"{{bot}}:approval:{PROPOSAL.id}") > 0


async def test_what_has_expired_or_is_forgotten_makes_room(redis: Redis) -> None:
    """No request counts for ever."""
    for hours in (0.0, 1.0):
        await redis.flushall()
        kept = approvals(redis, hours=hours)
        for number in range(MOST_OPEN):
            assert await kept.ask(TURN, replace(PROPOSAL, id=f"{number:08}"))
        if hours:
            await kept.erase([Author(ADA, "T1")])
        assert await kept.ask(TURN, replace(PROPOSAL, id="aaaaaaaa"))


async def test_a_request_of_the_version_before_can_be_decided(redis: Redis) -> None:
    """It names who asked beside itself, and knows of no other places."""
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    key = f"{{bot}}:approval:{PROPOSAL.id}"
    stored = json.loads(await redis.hget(key, "request") or b"")
    del stored["people"], stored["approval"]["askers"], stored["approval"]["names"]
    await redis.hset(key, "request", json.dumps(stored))
    assert (await answer_to(kept, message_by(f"approve {PROPOSAL.id}"))) == f"Approved.\n\n{SHOWN}"
    assert len(await decisions(redis)) == 1
