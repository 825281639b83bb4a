"""Presses of buttons below answers: what a user reaches by one is no more than by a message."""

import math
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.access import texts
from bot.access.allow_list import AllowList
from bot.access.answers import Answers, AnswerStore
from bot.chat import Health, PressRefused, Stop, ThreadId, Turn, Withdrawal, answer_id
from bot.commands import answer_texts
from bot.commands.commands import Commands
from bot.platforms import answers as presses
from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, BOB, BOT_USER, GENERAL, Message, Slack
from tests.support.answers import SlackPlace, answered, turns_ended
from tests.support.bot import run_bot
from tests.support.inbox import a_message, an_inbox, begin
from tests.support.obedient_model import obey, order
from tests.support.settings import of_model, of_slack
from tests.support.wait import wait_until

OTHER, GROUP = "C0OTHER", "G0GROUP"


def results(model: ModelServer) -> str:
    """Return what the tools have told the model in the newest request."""
    return "\n".join(each["content"] for each in model.requests[-1]["messages"] if each["role"] == "tool")


@pytest.mark.parametrize("channel", [GENERAL, GROUP])
@pytest.mark.parametrize("is_shared", [True, False])
async def test_another_answer_tells_other_organisations_no_more_than_the_first_one(
    storage: dict[str, Any], slack: Slack, model: ModelServer, channel: str, is_shared: bool
) -> None:
    """A press does not say who reads the channel: the question did."""
    model.respond = obey
    slack.add_channel(OTHER)
    if channel == GROUP:  # the event of a mention does not tell its kind
        slack.tolerate("channel_type_not_supported")
        slack.add_channel(GROUP, "mpim", [ALICE, BOB, BOT_USER])
    slack.workspace.channels[channel].is_shared = is_shared
    slack.workspace.add(
        Message(channel=OTHER, ts=slack.workspace.new_ts(), user=BOB, text="The plan is green.")
    )
    async with run_bot(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        question = order("read_messages", link_or_thread=OTHER)
        ts = await slack.say(ALICE, channel, f"{slack.mention} {question}")
        for number in (1, 2, 3):
            await wait_until(lambda due=2 * number: len(model.requests) == due, f"answer {number}")  # type: ignore[misc]
            assert ("The plan is green." in results(model)) is not is_shared
            assert ("it is in a private channel" in results(model)) is is_shared
            await turns_ended()
            await slack.wait_until_settled()
            if number < 3:
                await slack.press(ALICE, channel, slack.bot_replies(channel, ts)[-1].ts, "regenerate")


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_user_of_another_organisation_uses_no_button_whether_or_not_slack_describes_them(
    storage: dict[str, Any], slack: Slack, model: ModelServer, redis: Redis, is_told: bool
) -> None:
    """The press itself says where they are from; there is no vote and no form either."""
    model.respond = lambda _: "It is Monday."
    slack.describe(BOB, team_id="T0OTHER0001")
    if not is_told:
        slack.fail("users.info", error="user_not_found", times=math.inf)
    place = SlackPlace(slack)
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("which day is it?")
        await answered(place, "It is Monday.")
        for button in ("regenerate", "details"):
            assert await place.press("bob", button) == texts.EXTERNAL_NOT_ALLOWED
        await place.vote("bob", "down")
        await wait_until(lambda: len(slack.ephemerals) == 3, "the vote is refused")
    assert slack.ephemerals[-1].text == texts.EXTERNAL_NOT_ALLOWED
    assert not slack.modals
    assert not [each async for each in AnswerStore(redis).all_feedback()]
    assert len(model.requests) == 1


async def test_an_answer_can_be_rated_while_it_grows(redis: Redis) -> None:
    """Its buttons are shown before its details are stored: it is known as that of the turn that runs."""
    inbox, message = an_inbox(redis), a_message("which day is it?")
    answers = Answers(AnswerStore(redis), inbox, AllowList())
    press = replace(message, id="", text="")
    answer = Turn(id=message.id, thread=message.thread, messages=()).answer
    with pytest.raises(PressRefused):
        await answers.rate(answer, press, "up")
    await inbox.put(message)
    await begin(inbox)
    await answers.rate(answer, press, "up")
    with pytest.raises(PressRefused):
        await answers.rate("0" * 20, press, "up")
    assert [each.answer for each in await answers.store.by([message.author])] == [answer]


@pytest.mark.parametrize("thread", ["t1", ""])
async def test_the_details_of_an_answer_that_was_rated_while_it_grew_are_kept_with_the_vote(
    redis: Redis, thread: str
) -> None:
    """Fault: they were gone after a week, because there were none yet when the vote came.

    A press over HTTP does not tell the thread of the answer.
    """
    inbox, message = an_inbox(redis), a_message("which day is it?")
    answers = Answers(AnswerStore(redis), inbox, AllowList())
    for each in (message, replace(message, thread=ThreadId("test", "another", "t1"), id="another")):
        await inbox.put(each)
    press = replace(message, id="", text="", thread=replace(message.thread, channel=thread))
    lease, start = await begin(inbox)
    answer = start.turn.answer
    await answers.rate(answer, press, "up")
    with pytest.raises(PressRefused):
        await answers.describe(answer, press)
    with pytest.raises(PressRefused):
        await answers.rate(answer_id("another"), press, "up")
    value = answers.details(start.turn, {}, 1.0, has_failed=False)
    await inbox.finish(lease, start.turn, details=value)
    assert "Details of this answer" in await answers.describe(answer, press)
    assert await redis.ttl(value.key) > 89 * 86_400
    await answers.rate(answer, press, "down")


@pytest.mark.parametrize("is_order", [False, True])
async def test_a_question_of_two_messages_is_not_answered_again_when_the_first_was_deleted(
    redis: Redis, is_order: bool
) -> None:
    """Fault: only the newest message counted, and the model got the deleted one again."""
    inbox, first, second = an_inbox(redis), a_message("which day?"), a_message("and which hour?")
    answers = Answers(AnswerStore(redis), inbox, AllowList())
    for each in (first, second):
        await inbox.put(each)
    press, answer = replace(first, id="", text=""), answer_id(first.id)
    for _ in range(1 + is_order):
        lease, start = await begin(inbox)
        value = answers.details(start.turn, {}, 1.0, has_failed=False)
        await inbox.finish(lease, start.turn, details=value)
        answer = start.turn.answer
        if is_order and not start.turn.regenerates:
            assert (await answers.regenerate(answer, press)).words == answer_texts.REGENERATING
    await inbox.put(Withdrawal(message_id=first.id))
    assert (await answers.regenerate(answer, press)).words == answer_texts.DELETED


async def test_a_reason_belongs_to_a_vote(redis: Redis) -> None:
    """A form that nobody was shown stores nothing."""
    answers = Answers(AnswerStore(redis), an_inbox(redis), AllowList())
    with pytest.raises(PressRefused):
        await answers.explain("0" * 20, "slack:U1", "No.")
    assert not [each async for each in redis.scan_iter()]


async def test_a_press_says_so_while_the_store_is_down() -> None:
    """A vote or a reason that is not stored must not look as if it were."""

    async def check_health() -> list[Health]:
        return []

    async def halt(stop: Stop) -> int:
        return 0

    message = a_message("which day is it?")
    press, answer = replace(message, id="", text=""), answer_id(message.id)
    async with Redis.from_url("redis://127.0.0.1:1") as nowhere:
        answers = Answers(AnswerStore(nowhere), an_inbox(nowhere), AllowList())
        commands = Commands(check_health, halt, answers=answers)
        assert await presses.rate(commands, answer, press, "up") == answer_texts.NOT_RATED
        told = await presses.explain(commands, answer, press.author, "No.")
        assert told == answer_texts.REASON_NOT_STORED
        assert await presses.regenerate(commands, answer, press) == answer_texts.NOT_STORED


async def test_another_answer_is_ordered_only_from_the_space_of_the_first_one(redis: Redis) -> None:
    """The id of an answer can be computed from a link, so it opens nothing by itself."""
    inbox, message = an_inbox(redis), a_message("which day is it?")
    answers = Answers(AnswerStore(redis), inbox, AllowList())
    await inbox.put(message)
    lease, start = await begin(inbox)
    await inbox.finish(lease, start.turn)
    value = answers.details(start.turn, {}, 1.0, has_failed=False)
    await redis.set(value.key, value.text)
    press = replace(message, id="", text="")
    elsewhere = replace(press, thread=replace(press.thread, space="another"))
    assert (await answers.regenerate(start.turn.answer, elsewhere)).words == answer_texts.NOT_KNOWN
    assert (await answers.regenerate(start.turn.answer, press)).words != answer_texts.NOT_KNOWN
