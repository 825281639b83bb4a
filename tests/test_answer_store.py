"""Store of answers: votes count once, and forget who gave them."""

import json
from dataclasses import replace

from redis.asyncio import Redis

from bot.access.answers import AnswerStore
from bot.access.answers.answer_store import KEPT_SECONDS
from bot.chat import (
    AnswerDetails,
    AnswerTally,
    Locale,
    ModelUse,
    ThreadId,
    ToolStep,
    ToolUse,
    answer_id,
)
from bot.commands import answer_texts

ALICE, BOB = "slack:U1", "slack:U2"
MONDAY, TUESDAY = 1_767_600_000.0, 1_767_686_400.0
DETAILS = AnswerDetails(
    reference="0123abcd",
    thread=ThreadId("slack", "T1", "C1", "1.5"),
    turn="slack:T1:C1:1.5",
    message="slack:T1:C1:1.7",
    replaces="0123456789" * 2,
    earlier=("slack:T1:C1:1.6",),
    at=1_767_600_000,
    seconds=2.25,
    edited_at=1_767_599_000.5,
    attempts=2,
    models={"large": ModelUse(100, 20, 3, 1)},
    tools={"sql_query": ToolUse(2, 1, 40)},
    is_external=True,
    readers={"channel_kind": "channel", "shared": "yes"},
    locale=Locale("Europe/Berlin", 3600, "de-DE"),
)


async def test_a_repeated_vote_counts_once_and_a_changed_one_moves(redis: Redis) -> None:
    """Also to another day, and the reason of the earlier vote goes."""
    store = AnswerStore(redis)
    assert await store.rate("a", ALICE, "down", at=MONDAY) == "new"
    assert await store.rate("a", ALICE, "down", "Too long.", at=MONDAY) == "same"
    assert await store.rate("a", ALICE, "down", at=TUESDAY) == "same"
    assert await store.rate("a", BOB, "up", at=MONDAY) == "new"
    assert await store.count("2026-01-05") == {"up": 1, "down": 1}
    assert [(each.by, each.vote, each.reason) async for each in store.all_feedback()] == [
        (ALICE, "down", "Too long."),
        (BOB, "up", ""),
    ]
    assert await store.rate("a", ALICE, "up", at=TUESDAY) == "changed"
    assert await store.count("2026-01-05") == {"up": 1, "down": 0}
    assert await store.count("2026-01-06") == {"up": 1, "down": 0}
    assert [(each.vote, each.reason) for each in await store.by([ALICE])] == [("up", "")]


async def test_everything_expires_after_90_days(redis: Redis) -> None:
    """The list of rated answers also drops those that nobody has rated for so long.

    That of a user has an answer for twice as long: so long may others have voted on it.
    """
    store = AnswerStore(redis)
    await store.rate("a", ALICE, "up", at=MONDAY)
    await store.rate("b", ALICE, "up", at=MONDAY + KEPT_SECONDS + 1)
    assert await redis.zrange("{bot}:rated", 0, -1) == [b"b"]
    theirs = f"{{bot}}:rated:by:{ALICE}"
    async for key in redis.scan_iter():
        assert 0 < await redis.ttl(key) <= (2 if key == theirs.encode() else 1) * KEPT_SECONDS
    await store.rate("c", ALICE, "up", at=MONDAY + 2 * KEPT_SECONDS + 1)
    assert await redis.zrange(theirs, 0, -1) == [b"b", b"c"]


async def test_details_are_kept_for_a_week_and_with_a_vote_for_as_long_as_it(redis: Redis) -> None:
    """Most answers have no vote, and many callers show no buttons."""
    store = AnswerStore(redis)
    value = store.details_value("a", DETAILS)
    assert value.ttl_seconds == 7 * 86_400
    await redis.set(value.key, value.text, ex=value.ttl_seconds)
    await store.rate("a", ALICE, "up")
    assert await redis.ttl(value.key) > 89 * 86_400


async def test_an_answer_takes_votes_for_90_days_after_its_first_one(redis: Redis) -> None:
    """So all votes are gone after twice that time, and their users find them until then.

    A repeated vote is no new one: it prolongs nothing.
    """
    store = AnswerStore(redis)
    last = MONDAY + KEPT_SECONDS
    await store.rate("a", ALICE, "up", at=MONDAY)
    await redis.expire("{bot}:feedback:a", 1_000)
    assert await store.rate("a", ALICE, "up", at=last) == "same"
    assert await redis.ttl("{bot}:feedback:a") <= 1_000
    assert await store.rate("a", BOB, "down", at=last) == "new"
    assert await redis.ttl("{bot}:feedback:a") > 89 * 86_400
    for author in (ALICE, BOB, "slack:U3"):
        assert await store.rate("a", author, "down", "No.", at=last + 1) == "late"
    await store.rate("b", ALICE, "up", at=MONDAY + 2 * KEPT_SECONDS - 1)
    assert [each.answer for each in await store.by([ALICE])] == ["a", "b"]
    assert [each.reason for each in await store.by([BOB])] == [""]


async def test_a_vote_takes_as_many_commands_beside_many_others(redis: Redis) -> None:
    """Fault: each one wrote an entry for every user who had voted on the answer before."""
    store = AnswerStore(redis)

    async def commands() -> int:
        return int(sum(each["calls"] for each in (await redis.info("commandstats")).values()))

    costs = []
    for number in range(100):
        before = await commands()
        await store.rate("a", f"slack:U{number}", "up")
        costs.append(await commands() - before)
    assert costs[1] == costs[-1]


async def test_votes_of_an_earlier_version_are_found_as_long_as_later_ones_keep_them(redis: Redis) -> None:
    """They have no time of the first vote, and their users were listed for 90 days after the newest one."""
    store = AnswerStore(redis)
    await store.rate("a", ALICE, "up", at=MONDAY)
    await redis.hdel("{bot}:feedback:a", "since")
    await redis.delete(f"{{bot}}:rated:by:{ALICE}")
    assert await store.rate("a", BOB, "up", at=MONDAY + KEPT_SECONDS - 1) == "new"
    assert [each.answer for each in await store.by([ALICE])] == ["a"]
    assert await redis.ttl(f"{{bot}}:rated:by:{ALICE}") > KEPT_SECONDS
    assert await store.rate("a", "slack:U3", "up", at=MONDAY + 2 * KEPT_SECONDS - 1) == "new"


async def test_a_user_finds_and_forgets_their_votes_without_those_of_others(redis: Redis) -> None:
    """Also an old vote, which a newer one of somebody else keeps; other answers are not looked at."""
    store = AnswerStore(redis)
    await store.rate("a", ALICE, "up", at=MONDAY)
    await store.rate("a", BOB, "down", "No.", at=MONDAY + KEPT_SECONDS - 1)
    await store.rate("b", ALICE, "down", "Too long.", at=MONDAY + KEPT_SECONDS + 1)
    for number in range(20):
        await store.rate(f"other {number}", BOB, "up", at=MONDAY + KEPT_SECONDS + 1)
    assert [(each.answer, each.reason) for each in await store.by([ALICE])] == [("a", ""), ("b", "Too long.")]
    before = (await redis.info("commandstats"))["cmdstat_hmget"]["calls"]
    await store.by([ALICE])
    assert (await redis.info("commandstats"))["cmdstat_hmget"]["calls"] == before + 2
    await store.forget([ALICE])
    assert not await store.by([ALICE])
    assert not await redis.exists(f"{{bot}}:rated:by:{ALICE}")
    assert len(await store.by([BOB])) == 21


async def test_a_forgotten_user_leaves_votes_without_name_and_reason(redis: Redis) -> None:
    """The votes still count, and those of others stay as they are."""
    store = AnswerStore(redis)
    await store.rate("a", ALICE, "down", "I, Alice, disagree.")
    await store.rate("a", BOB, "down", "So do I.")
    await store.rate("b", ALICE, "up")
    await store.forget([ALICE])
    await store.forget([ALICE])
    left = [(each.answer, each.by, each.vote, each.reason) async for each in store.all_feedback()]
    assert sorted(left) == [
        ("a", "", "down", ""),
        ("a", BOB, "down", "So do I."),
        ("b", "", "up", ""),
    ]
    assert not await store.by([ALICE])
    stored = [await redis.dump(key) async for key in redis.scan_iter()]
    assert not any(b"Alice" in (each or b"") or ALICE.encode() in (each or b"") for each in stored)


def test_details_are_stored_without_a_word_of_what_was_said() -> None:
    """They are read back as they were; what is usual takes no place."""
    assert AnswerDetails.from_json(json.loads(json.dumps(DETAILS.to_json()))) == DETAILS
    usual = replace(
        DETAILS, attempts=1, message=DETAILS.turn, earlier=(), edited_at=0, is_external=False, readers={}
    )
    usual = replace(usual, replaces=answer_id(DETAILS.turn), locale=None)
    assert AnswerDetails.from_json(usual.to_json()) == usual
    assert usual.to_json().keys() == {"reference", "thread", "turn", "at", "seconds", "models", "tools"}


async def test_details_of_another_version_count_as_unknown(redis: Redis) -> None:
    """A press must not fail on them."""
    store = AnswerStore(redis)
    await redis.set("{bot}:answer:a", json.dumps({"other": 1}))
    assert await store.details("a") is None
    assert await store.details("b") is None


async def test_the_export_has_each_vote_with_the_details_of_its_answer(redis: Redis) -> None:
    """Plain values that a spreadsheet or a script can read."""
    store = AnswerStore(redis)
    value = store.details_value("a", DETAILS)
    await redis.set(value.key, value.text)
    await store.rate("a", ALICE, "down", "Too long.", at=MONDAY)
    await store.rate("b", BOB, "up", at=TUESDAY)
    first, second = [each async for each in store.export()]
    assert first == {
        "answer": "a",
        "vote": "down",
        "at": "2026-01-05T08:00:00+00:00",
        "by": ALICE,
        "reason": "Too long.",
        "details": {
            "reference": "0123abcd",
            "thread": "slack:t1:c1:1.5",
            "ended_at": "2026-01-05T08:00:00+00:00",
            "seconds": 2.25,
            "attempts": 2,
            "models": {"large": {"input": 100, "output": 20, "cost": 3, "calls": 1}},
            "tools": {"sql_query": {"calls": 2, "failures": 1, "rows": 40}},
        },
    }
    assert (second["by"], second["reason"], second["details"]) == (BOB, None, None)
    await store.forget([ALICE])
    first, _ = [each async for each in store.export()]
    assert (first["by"], first["details"]["thread"]) == (None, None)  # it may be their direct messages


def test_names_of_tools_are_those_of_a_model_and_stay_in_their_place() -> None:
    """A model may call whatever it likes: names have a limit, and no markup ends the line's code."""
    tally = AnswerTally()
    for number in range(30):
        name = f"{number}` [x](http://a.b)\n" + "x" * 1_000
        tally.add(ToolStep(id="1", name=name, state="failed", title="?"))
    assert len(tally.tools) == 20
    text = answer_texts.details(replace(DETAILS, tools=tally.tools), {})
    lines = [each for each in text.splitlines() if each.startswith("- tool")]
    assert len(lines) == 20
    assert all(each.count("`") == 2 and len(each) < 120 for each in lines)
