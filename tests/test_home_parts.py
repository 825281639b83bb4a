"""Parts of a user's home page, read from Redis: requests that wait, and feedback about the bot."""

from dataclasses import replace

from redis.asyncio import Redis

from bot.access.answers import AnswerStore
from bot.access.answers.answers import Answers
from bot.access.requests import RequestStore, WaitingRequests
from bot.chat import Inquiry
from tests.support.approval_requests import ADA, BOB, EVE, PROPOSAL, QUESTION, TURN, AdmitsAll, approvals


async def waiting(redis: Redis, by: str, *, four_eyes: bool = False) -> list[tuple[str, str]]:
    """Return the kinds and ids of the requests that wait for a user."""
    found = WaitingRequests(RequestStore(redis), approvals(redis, four_eyes=four_eyes).approvals)
    return [(each.kind, each.id) for each in await found.waiting_for(by)]


async def test_what_waits_for_a_user_are_approvals_that_they_can_give_and_questions_to_them(
    redis: Redis,
) -> None:
    kept = approvals(redis)
    await kept.ask(TURN, PROPOSAL)
    inquiry = Inquiry(id="1f", tool="ask_user", text="Which <!channel>?", arguments={}, options=("a", "b"))
    await kept.ask(replace(TURN, id="another", messages=(replace(QUESTION, id="another"),)), inquiry)
    assert await waiting(redis, BOB) == [("approval", PROPOSAL.id)]
    assert set(await waiting(redis, ADA)) == {("approval", PROPOSAL.id), ("question", "1f")}
    assert await waiting(redis, ADA, four_eyes=True) == [("question", "1f")]
    assert await waiting(redis, EVE) == []
    assert "DELETE FROM shelf" in (await WaitingRequests(kept.store, kept.approvals).waiting_for(BOB))[0].text
    await kept.decide(PROPOSAL.id, BOB, approve=False)
    assert await waiting(redis, BOB) == []


async def test_feedback_about_the_bot_counts_once_for_each_form_and_is_forgotten_with_its_user(
    redis: Redis,
) -> None:
    """A form that is sent again after a crash is the same; a reason on an answer stands beside it."""
    answers = Answers(AnswerStore(redis), approvals(redis).inbox, AdmitsAll())  # type: ignore[arg-type]
    await answers.store.rate("0123456789abcdef0123", ADA, "down", "too long")
    for _ in range(2):
        await answers.rate_bot("T1 V1", ADA, "up", " it helps\ud83d ")
    await answers.rate_bot("T1 V2", BOB, "down", "it is slow")
    assert await answers.count_votes(ADA) == {"up": 1, "down": 1}
    newest = await answers.newest_opinions(5)
    assert {(each.vote, each.reason, each.is_general) for each in newest} == {
        ("down", "it is slow", True),
        ("up", "it helps�", True),
        ("down", "too long", False),
    }
    assert [each.reason for each in await answers.newest_opinions(1)] == [newest[0].reason]
    exported = [each async for each in answers.store.export()]
    assert len(exported) == 3
    await answers.store.forget([BOB])
    assert "it is slow" not in str(await answers.newest_opinions(5))
