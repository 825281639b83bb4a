"""`./dev run inbox show`: what an operator reads about one message."""

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from bot.chat import Correction, Message, ThreadId
from bot.inbox import Inbox, admin, keys
from bot.inbox.trace import fragment
from tests.support.inbox import answer, begin

SENT_AT = 4_000_000_000.0  # in the future: an edit is never too old
QUESTION = Message(
    id="slack:T1:C0GENERAL:1796041246.309390",
    thread=ThreadId("slack", "T1", "C0GENERAL", "1796041246.309390"),
    author="slack:T1:U1",
    text="How many?",
    sent_at=SENT_AT,
    addressed=True,
    channel="slack:T1:C0GENERAL",
)
LINK = "https://acme.slack.com/archives/C0GENERAL/p1796041246309390"


@pytest.fixture
async def inbox(redis: Redis) -> Inbox:
    inbox = Inbox(redis, name="one", follow_days=30)
    await inbox.enter()
    return inbox


async def show(redis: Redis, message: str) -> str:
    return await admin.run(redis, "show", message)


@pytest.mark.parametrize(
    "name",
    [
        *(QUESTION.id, QUESTION.id.lower(), "c0general:1796041246.309390", "1796041246.309390"),
        *("p1796041246309390", LINK, f"{LINK}/", f"<{LINK}>", f"{LINK}?thread_ts=1.2&cid=C1"),
    ],
)
async def test_a_message_is_found_by_its_id_a_part_of_it_or_its_link(
    inbox: Inbox, redis: Redis, name: str
) -> None:
    await inbox.put(QUESTION)
    await inbox.put(replace(QUESTION, id="slack:T1:C0GENERAL:1796041246.309391"))
    shown = await show(redis, name)
    assert shown.startswith(f"message {QUESTION.id}\n")
    assert "309391" not in shown


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ("https://discord.com/channels/11/22/33", "33"),
        ("https://discord.com/channels/@me/22/33", "33"),
        ("https://discord.com/channels/@me/22/33/", "33"),
    ],
)
def test_a_link_to_discord_ends_with_the_id(link: str, found: str) -> None:
    assert fragment(link) == found


async def test_attempts_receipt_and_edits_of_a_message_are_shown(inbox: Inbox, redis: Redis) -> None:
    await inbox.put(QUESTION)
    lease, begun = await begin(inbox)
    assert "turn, not ended, last run by one.1" in await show(redis, QUESTION.id)
    await inbox.keep(lease, begun.turn, {"pages": [{"ts": "1796041250.000100"}]})
    await inbox.finish(lease, begun.turn)
    edited = replace(QUESTION, text="How many orders?")
    assert await inbox.put(Correction(message=edited, edited_at=2)) == "corrected"
    await answer(inbox)
    question, correction = (await show(redis, QUESTION.id)).split("\n\n")
    assert "turn, ended, last run by one.1" in question
    assert "attempts: 1" in question
    assert '"ts": "1796041250.000100"' in question
    assert f"answered last: {QUESTION.id}" in question
    assert f"corrects: {QUESTION.id}" in correction


async def test_an_answer_finds_the_question(inbox: Inbox, redis: Redis) -> None:
    """With two answers to one question, it is their link that an operator has."""
    await inbox.put(QUESTION)
    lease, begun = await begin(inbox)
    await inbox.finish(lease, begun.turn, receipt={"pages": [{"ts": "1796041250.000100"}]})
    for name in ("1796041250.000100", "https://acme.slack.com/archives/C0GENERAL/p1796041250000100"):
        assert (await show(redis, name)).startswith(f"message {QUESTION.id}\n")
    for name in ("1796041250.00010", "pages", "ts"):
        assert (await show(redis, name)).startswith("Redis knows no message and no answer")


async def test_the_link_of_an_answer_in_no_receipt_finds_the_first_message_of_its_thread(
    inbox: Inbox, redis: Redis
) -> None:
    """The end of a turn does not store which message was its last."""
    await inbox.put(QUESTION)
    lease, begun = await begin(inbox)
    await inbox.finish(lease, begun.turn, receipt={"opening": {"stream": True}})
    link = "https://acme.slack.com/archives/C0GENERAL/p1796041250000100?thread_ts=1796041246.309390&cid=C0GENERAL"
    assert (await show(redis, link)).startswith(f"message {QUESTION.id}\n")


@pytest.mark.parametrize("name", ["*", "[a-z]", "\\", "?", "*" * 100_000])
async def test_a_name_is_no_pattern(inbox: Inbox, redis: Redis, name: str) -> None:
    await inbox.put(QUESTION)
    shown = await show(redis, name)
    assert shown.startswith("Redis knows no message")
    assert len(shown) < 3_000


async def test_what_fits_too_many_messages_is_not_shown(inbox: Inbox, redis: Redis) -> None:
    for number in range(21):
        await inbox.put(replace(QUESTION, id=f"{QUESTION.id}{number:02}"))
    assert (await show(redis, "slack:T1")).startswith("More than 20 messages")


async def test_what_is_shown_cannot_control_a_terminal(inbox: Inbox, redis: Redis) -> None:
    await inbox.put(QUESTION)
    await redis.hset(keys.seen(QUESTION.id), "author", "\x1b[2Jana\n\x07")
    shown = await show(redis, QUESTION.id)
    assert "author: [2Jana" in shown
    assert "\x1b" not in shown
