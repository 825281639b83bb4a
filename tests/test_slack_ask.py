"""Shortcuts on Slack: asked once, stored before the form closes, answered where a mention would be."""

import asyncio
from typing import Any

import pytest

from bot.commands import ask_texts
from bot.slack.ask_forms import Subject, ask_form, load_subject, subject_of
from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, BOB, BOT_USER, GENERAL, Slack
from tests.servers.slack.views import check_view
from tests.support import slack_platform
from tests.support.bot import run_bot
from tests.support.settings import of_model, of_slack
from tests.support.slack_platform import Serve, gated_answer
from tests.support.wait import wait_until

serving = slack_platform.serve
server = slack_platform.server

ABOUT, ASK = ask_texts.ASK_ABOUT, ask_texts.ASK


def heard(model: ModelServer) -> str:
    """Return all that the model was given so far."""
    return str(model.requests)


async def test_a_question_about_a_message_is_answered_in_its_thread(
    storage: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """The message is a quote, the question is shown to the others, and both come in one turn."""
    model.respond = lambda _: "It is about tea."
    async with run_bot(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(BOB, GENERAL, "Let us buy <https://tea.example|Assam>")
        form = await slack.shortcut(ABOUT, ALICE, (GENERAL, ts))
        await slack.submit(form, {"question": "Which *tea* is it?"})
        assert not form.is_open
        await slack.answer(GENERAL, ts, until=lambda text: "It is about tea." in text)
        await wait_until(
            lambda: "Which *tea* is it?" in slack.transcript(GENERAL, ts), "the question is shown"
        )
        shown = slack.transcript(GENERAL, ts)
        assert f"<@{ALICE}> asks:" in shown
        assert "Which *tea* is it?" in heard(model)
        assert "Assam" in heard(model)
        assert ask_texts.SUBJECT in heard(model)
        assert shown.count("It is about tea.") == 1
    assert not slack.violations


async def test_a_form_that_is_sent_without_a_question_asks_about_the_message(
    server: Slack, serving: Serve
) -> None:
    async with serving(server, gated_answer()) as bot:
        ts = await server.say(BOB, GENERAL, "The tea is out.")
        await server.submit(await server.shortcut(ABOUT, ALICE, (GENERAL, ts)), {})
        message = await bot.wait_for_messages()
        assert (message.text, message.thread.thread, message.author) == (
            ask_texts.ABOUT,
            ts,
            f"slack:{ALICE}",
        )
        assert [each.text for each in message.quotes] == ["The tea is out."]
        await wait_until(lambda: len(server.replies(GENERAL, ts)) == 1, "the question is shown")


async def test_a_question_from_anywhere_is_answered_in_direct_messages(
    storage: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    model.respond = lambda _: "It is Monday."
    async with run_bot(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        form = await slack.shortcut(ASK, ALICE)
        with pytest.raises(LookupError):
            await slack.submit(form, {})
        file = slack.upload(ALICE, "note.txt", "text/plain", b"The code is 4711.")
        await slack.submit(form, {"question": "Which day is it?", "files": file})
        [root] = slack.messages(slack.dm(ALICE))[:1]
        assert root.from_bot
        await slack.answer(slack.dm(ALICE), root.ts, until=lambda text: "Monday" in text)
        assert "The code is 4711." in str(model.requests)
        refusal = slack.fail("views.open", error="invalid_arguments")
        without_files = await slack.shortcut(ASK, ALICE)
    assert refusal.hits == 1
    assert "file_input" not in str(without_files.view)
    assert not slack.violations


@pytest.mark.parametrize("kind", ["channel", "group"])
async def test_where_the_bot_cannot_write_the_answer_comes_in_direct_messages(
    server: Slack, serving: Serve, kind: Any
) -> None:
    """A shortcut can be used on any message that the user sees."""
    server.tolerate("channel_not_found")  # a private channel that the bot is not in
    place = server.add_channel("C0ELSEWHERE", kind, [ALICE, BOB])
    async with serving(server, gated_answer()) as bot:
        ts = await server.say(BOB, place, "The tea is out.")
        await server.submit(await server.shortcut(ABOUT, ALICE, (place, ts)), {"question": "Which?"})
        message = await bot.wait_for_messages()
        assert (message.channel, message.direct) == (server.dm(ALICE), True)
        assert [each.text for each in message.quotes] == ["The tea is out."]
        assert len(server.messages(server.dm(ALICE))) == 1
        assert not server.replies(place, ts)


async def test_a_question_that_cannot_be_stored_stays_in_the_form_and_is_taken_once(
    server: Slack, serving: Serve
) -> None:
    """Sent again, it has the same id, so that a question that was stored after all is not asked twice."""
    async with serving(server, gated_answer()) as bot:
        ts = await server.say(BOB, GENERAL, "The tea is out.")
        form = await server.shortcut(ABOUT, ALICE, (GENERAL, ts))
        bot.failures = 1
        await server.submit(form, {"question": "Which?"})
        assert form.errors
        await server.submit(form, {"question": "Which?"})
        assert not form.is_open
        await bot.wait_for_messages()
        assert [each.text for each in bot.messages].count("Which?") == 1


async def test_a_question_for_direct_messages_that_is_sent_again_is_not_shown_again(
    server: Slack, serving: Serve
) -> None:
    """It is shown before it is stored, because it begins the thread."""
    async with serving(server, gated_answer()) as bot:
        form = await server.shortcut(ASK, ALICE)
        bot.failures = 1
        await server.submit(form, {"question": "Which?"})
        assert form.errors
        await server.submit(form, {"question": "Which?"})
        message = await bot.wait_for_messages()
        [root] = server.messages(server.dm(ALICE))
        assert message.thread.thread == root.ts


async def test_a_form_that_is_sent_twice_at_once_asks_once(server: Slack, serving: Serve) -> None:
    async with serving(server, gated_answer()) as bot:
        form = await server.shortcut(ASK, ALICE)
        await asyncio.gather(*(server.submit(form, {"question": "Which?"}) for _ in range(3)))
        await bot.wait_for_messages()
        assert len({each.id for each in bot.messages}) == 1
        assert len(server.messages(server.dm(ALICE))) == 1


async def test_a_user_who_is_not_allowed_gets_a_refusal_and_no_answer(
    storage: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """The access rules hold for every way to ask."""
    allowed = {"allowed_users": {f"slack:{BOB}"}}
    async with run_bot(**storage, **of_model(model), **of_slack(slack), **allowed):
        await slack.wait_for_connections()
        ts = await slack.say(BOB, GENERAL, "The tea is out.")
        await slack.submit(await slack.shortcut(ABOUT, ALICE, (GENERAL, ts)), {"question": "Which?"})
        await slack.answer(GENERAL, ts, until=lambda text: "allowed" in text.lower())
    assert not model.requests


async def test_rate_limits_hold_for_shortcuts(
    storage: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    model.respond = lambda _: "Yes."
    async with run_bot(**storage, **of_model(model), **of_slack(slack), user_rate=1):
        await slack.wait_for_connections()
        for number in range(2):
            form = await slack.shortcut(ASK, ALICE)
            await slack.submit(form, {"question": f"question {number}"})
        roots = [each for each in slack.messages(slack.dm(ALICE)) if not each.thread_ts]
        answers = [await slack.answer(slack.dm(ALICE), each.ts) for each in roots]
    assert sum("Yes." in each for each in answers) == 1


def test_any_message_fits_into_a_form() -> None:
    """Slack keeps 3,000 characters with it; the text is cut, and the files and the place stay."""
    files = [{"id": f"F{number}", "name": '"\\' * 400} for number in range(9)]
    hostile = '"\\\n\x00' * 10_000
    message = {"type": "message", "ts": "1.2", "user": BOB, "text": hostile, "files": files}
    body = {"type": "message_action", "action_ts": "3.4", "channel": {"id": "C1"}, "message": message}
    subject = subject_of(body, BOT_USER)
    form = ask_form(subject, takes_files=True)
    check_view(form)
    kept = load_subject(form["private_metadata"])
    assert (kept.channel, kept.ts, kept.thread_ts, kept.asked_ts) == ("C1", "1.2", "1.2", "3.4")
    assert kept.text.startswith('"\\')
    assert len(kept.attachments) == 5


@pytest.mark.parametrize(
    "body", [{}, {"message": "x"}, {"message": {"text": 5, "files": "x"}}, {"action_ts": []}]
)
def test_a_payload_of_another_form_still_opens_a_form(body: Any) -> None:
    check_view(ask_form(subject_of(body, BOT_USER), takes_files=True))
    assert isinstance(load_subject(Subject("1.0").dump()), Subject)
