"""A Slack that takes one part of an answer never: the person is told, and the thread goes on."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from redis.asyncio import Redis

from bot.chat import Approval, File, Receipt, Text, ThreadId, Undeliverable, Unreachable
from bot.slack.api import open_api
from bot.slack.health import TokenProbe
from bot.slack.rate_limits import RateLimits
from bot.slack.status import Session, Status
from bot.slack.timing import Timing
from bot.storage.coordination import RedisCoordination
from bot.storage.files import FileStore
from tests.servers.model import KEY, ModelServer
from tests.servers.slack.service import ALICE, BOB, GENERAL, TEAM, Slack
from tests.support.bot import run_bot
from tests.support.files import PICTURE, QuestionRun
from tests.support.slack_reply import ask_question, replies
from tests.support.wait import wait_until

FOR_EVER = math.inf
AT_ONCE = Timing(part_timeout=0, status_delay=0)
"""Durations with which a part is given up when it fails first."""
LINKS = "See https://example.com/a and [b](https://example.com/b). "
REQUEST = Approval(
    id="7f3a9c21",
    title="Change the database",
    action="update orders set status = 'paid' where id < 17 & paid",
    effect="3 rows",
    expires_at=4_000_000_000.0,
    approvers=("slack:U0BOB",),
    asked_in="question",
)


@pytest.fixture
async def picture(redis: Redis) -> File:
    return await FileStore(redis).keep("sales.png", "image/png", PICTURE, "Sales go up")


async def attempts(question: QuestionRun, *parts: Any) -> int:
    """Answer as the inbox would, again and again; the number of attempts that it took."""
    for attempt in range(1, 20):
        try:
            await question.answer(*parts)
        except Unreachable:
            continue
        return attempt
    raise AssertionError("the answer never ends")


class Clock:
    """Time for what has failed: `step` seconds go by with each look."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.step = 60.0

    def time(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def minutes(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("bot.slack.writer.time", clock)
    return clock


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "files.completeUploadExternal"])
async def test_a_file_that_slack_fails_at_for_minutes_becomes_a_sentence(
    slack: Slack, redis: Redis, picture: File, minutes: Clock, method: str
) -> None:
    """It was tried 125 times in 16 minutes, while the next question of the thread waited."""
    slack.fail(method, error="internal_error", times=FOR_EVER)
    async with ask_question(slack, redis) as question:
        assert 3 <= await attempts(question, Text("Here it is. "), picture, Text("It goes up.")) <= 6
        assert question.state["finished"]
        [(text, files)] = replies(slack, question)
    assert text.startswith("Here it is. It goes up.")
    assert "I could not show the file sales.png: Slack did not accept the upload." in text
    assert files == []


async def test_a_file_that_was_shown_although_slack_failed_is_not_said_to_be_missing(
    slack: Slack, redis: Redis, picture: File
) -> None:
    slack.fail("files.completeUploadExternal", status=500, times=FOR_EVER, after_applying=True)
    async with ask_question(slack, redis, timing=AT_ONCE) as question:
        await question.answer(Text("Here it is."), picture)
        assert replies(slack, question) == [("Here it is.", []), ("", ["sales.png"])]


async def test_an_outage_of_all_of_slack_is_waited_for(
    slack: Slack, redis: Redis, picture: File, minutes: Clock
) -> None:
    """Nothing is given up while Slack answers nothing: it passes, and the answer is then whole."""
    fault = slack.fail("files.completeUploadExternal", status=500, times=FOR_EVER)
    away = slack.fail("auth.test", error="internal_error", times=FOR_EVER)
    async with ask_question(slack, redis) as question:
        for _ in range(12):
            with pytest.raises(Unreachable):
                await question.answer(Text("Here it is."), picture)
        away.lift()
        with pytest.raises(Unreachable):  # only now the time begins
            await question.answer(Text("Here it is."), picture)
        fault.lift()
        await question.answer(Text("Here it is."), picture)
        assert replies(slack, question) == [("Here it is.", []), ("", ["sales.png"])]


async def test_where_streams_fail_the_answer_is_posted_at_the_next_attempt(
    slack: Slack, redis: Redis
) -> None:
    slack.fail("chat.startStream", status=500, times=FOR_EVER)
    async with ask_question(slack, redis) as question:
        assert await attempts(question, Text("Forty-two.")) == 2
        assert replies(slack, question) == [("Forty-two.", [])]


@pytest.mark.parametrize("method", ["chat.stopStream", "chat.update"])
async def test_a_message_that_slack_fails_at_stays_and_the_answer_is_shown_below_it(
    slack: Slack, redis: Redis, minutes: Clock, method: str
) -> None:
    slack.tolerate("unfinished", "streaming_state_conflict", "cant_delete_message")
    slack.fail("chat.stopStream", status=500)
    slack.fail(method, status=500, times=FOR_EVER)
    async with ask_question(slack, redis) as question:
        assert 2 <= await attempts(question, Text("Forty-two.")) <= 12
        assert replies(slack, question)[-1] == ("Forty-two.", [])


async def test_a_message_that_slack_does_not_delete_holds_nothing_up(
    slack: Slack, redis: Redis, minutes: Clock
) -> None:
    async with ask_question(slack, redis, "mpim") as question:
        await question.answer(Text("one two three four " * 1_000))
        del question.state["finished"]
        slack.fail("chat.delete", status=500, times=FOR_EVER)
        assert 3 <= await attempts(question, Text("Forty-two.")) <= 12
        assert replies(slack, question)[0] == ("Forty-two.", [])


async def test_a_thread_that_slack_does_not_list_holds_nothing_up(
    slack: Slack, redis: Redis, minutes: Clock
) -> None:
    """Nobody can then say whether the message that was being made exists: it is made again."""
    slack.fail("chat.postMessage", status=500)
    slack.fail("conversations.replies", error="internal_error", times=FOR_EVER)
    async with ask_question(slack, redis, "mpim") as question:
        assert 3 <= await attempts(question, Text("Forty-two.")) <= 8
        assert replies(slack, question) == [("Forty-two.", [])]


REFUSALS: list[dict[str, Any]] = [{"error": "invalid_blocks"}, {"error": "msg_too_long"}, {"status": 500}]


@pytest.mark.parametrize("trouble", REFUSALS, ids=str)
async def test_a_message_that_slack_does_not_take_is_shown_as_plain_text(
    slack: Slack, redis: Redis, trouble: dict[str, Any]
) -> None:
    slack.fail("chat.postMessage", **trouble)
    async with ask_question(slack, redis, "mpim", timing=AT_ONCE) as question:
        await question.answer(Text("Is **3** < 4 & <!channel>?"))
        [message] = slack.replies(GENERAL, question.thread.thread)
    assert message.text == "Is **3** &lt; 4 &amp; &lt;\u200b!channel&gt;?"
    assert slack.calls[-2].args["mrkdwn"] is False
    assert question.state["pages"][0]["ts"] == message.ts


@pytest.mark.parametrize("trouble", REFUSALS, ids=str)
async def test_where_plain_text_is_refused_too_a_sentence_says_so(
    slack: Slack, redis: Redis, trouble: dict[str, Any]
) -> None:
    slack.fail("chat.postMessage", times=2, **trouble)
    async with ask_question(slack, redis, "mpim", timing=AT_ONCE) as question:
        await question.answer(Text("Forty-two."))
        [(text, _)] = replies(slack, question)
    assert text.startswith("I could not show part of my answer here: Slack does not accept it (")


@pytest.mark.parametrize("trouble", [{"error": "restricted_action"}, {"status": 500}], ids=str)
async def test_where_nothing_can_be_posted_the_person_is_told_for_their_eyes_only(
    slack: Slack, redis: Redis, trouble: dict[str, Any]
) -> None:
    """The turn then ends as undeliverable, so that the next question of the thread is answered."""
    slack.fail("chat.startStream", error="restricted_action")
    slack.fail("chat.postMessage", times=FOR_EVER, **trouble)
    async with ask_question(slack, redis, timing=AT_ONCE) as question:
        with pytest.raises(Undeliverable):
            await question.answer(Text("Forty-two."))
    [told] = slack.ephemerals
    assert (told.user, told.channel) == (ALICE, GENERAL)
    assert told.text.startswith(f"I could not show my answer in <#{GENERAL}>: Slack does not accept it (")
    assert replies(slack, question) == []


async def test_the_three_forms_of_a_message_are_given_up_together(
    slack: Slack, redis: Redis, minutes: Clock
) -> None:
    slack.fail("chat.postMessage", status=500, times=FOR_EVER)
    async with ask_question(slack, redis, "mpim") as question:
        with pytest.raises(Undeliverable):
            await attempts(question, Text("Forty-two."))
    assert slack.count("chat.postMessage") <= 8
    assert len(slack.ephemerals) == 1


async def test_the_next_question_of_the_thread_is_answered_whatever_slack_did_not_take(
    redis_url: str, database_url: str, redis: Redis, model: ModelServer, slack: Slack, minutes: Clock
) -> None:
    """The whole bot: one question whose answer cannot be shown, and one after it."""
    minutes.step = 400
    model.respond = lambda request: "Forty-two."
    settings = {"redis_url": redis_url, "database_url": database_url}
    settings |= {"openai_api_key": KEY, "openai_base_url": model.base_url}
    settings |= {"slack_bot_token": slack.bot_token, "slack_app_token": slack.app_token}
    async with run_bot(**settings, slack_api_url=slack.api_url):
        await slack.wait_for_connections(2)
        faults = [
            slack.fail(method, status=500, times=FOR_EVER)
            for method in ("chat.startStream", "chat.postMessage", "chat.postEphemeral")
        ]
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} how many?")
        await wait_until(lambda: slack.count("chat.postEphemeral") > 0, "it is given up")
        for fault in faults:
            fault.lift()
        await slack.say(ALICE, GENERAL, f"{slack.mention} and now?", thread_ts=ts)
        assert await slack.answer(GENERAL, ts, until=lambda text: "Forty-two." in text)
        assert len(replies_of_the_bot(slack, ts)) == 1


def replies_of_the_bot(slack: Slack, ts: str) -> list[str]:
    return [each.visible_text for each in slack.replies(GENERAL, ts) if each.from_bot]


async def test_who_cannot_be_told_in_the_channel_is_told_directly(slack: Slack, redis: Redis) -> None:
    async with ask_question(slack, redis) as question:
        slack.remove_bot(GENERAL)
        with pytest.raises(Undeliverable, match="not_in_channel"):
            await question.answer(Text("Forty-two."))
    [message] = slack.messages(slack.dm(ALICE))
    assert message.text.startswith(
        f"I could not show my answer in <#{GENERAL}>: Slack does not accept it (not"
    )


@pytest.mark.parametrize("trouble", REFUSALS, ids=str)
async def test_a_request_that_slack_does_not_take_is_shown_with_its_whole_statement_as_plain_text(
    slack: Slack, redis: Redis, trouble: dict[str, Any]
) -> None:
    async with ask_question(slack, redis, timing=AT_ONCE) as question:
        slack.fail("chat.postMessage", **trouble)
        await question.answer(Text("I need approval. "), REQUEST)
        texts = [each.text for each in slack.replies(GENERAL, question.thread.thread)]
    assert "update orders set status = 'paid' where id &lt; 17 &amp; paid" in texts[-1]
    assert REQUEST.id in question.state["extras"]


@pytest.mark.parametrize("refusals", [1, 2])
@pytest.mark.parametrize("trouble", REFUSALS[:2], ids=str)
async def test_a_copy_of_a_request_shows_its_whole_statement_or_is_none(
    slack: Slack, redis: Redis, trouble: dict[str, Any], refusals: int
) -> None:
    """Fault: a sentence that it could not be shown counted as the copy, and words below it decided."""
    slack.fail("chat.postMessage", times=refusals, **trouble)

    async def keep(state: Any) -> None:
        """Nothing is kept."""

    async with ask_question(slack, redis) as question:
        receipt = Receipt(question.turn, keep)
        show = partial(question.platform.show_request, REQUEST, "slack:U0BOB", receipt, is_channel=False)
        if refusals == 1:
            place = await show()
            [copy] = slack.messages(slack.dm(BOB))
            assert place == ThreadId("slack", TEAM, slack.dm(BOB), copy.ts)
            assert "update orders set status = 'paid' where id &lt; 17 &amp; paid" in copy.text
        else:
            with pytest.raises(Undeliverable):
                await show()
            assert not slack.messages(slack.dm(BOB))


@pytest.mark.parametrize("kind", ["channel", "mpim"])
async def test_slack_fetches_no_link_that_the_model_has_written(
    slack: Slack, redis: Redis, kind: str
) -> None:
    """The server notes a violation for each text with links that is posted without forbidding it."""
    slack.fail("chat.startStream", error="restricted_action", times=FOR_EVER)
    async with ask_question(slack, redis, kind) as question:
        await question.answer(Text(LINKS), REQUEST)
        slack.fail("chat.postMessage", error="invalid_blocks")
        await replace(question, id="again", state={}).answer(Text(LINKS))
    posts = [call.args for call in slack.calls if call.method == "chat.postMessage"]
    assert len(posts) == 4
    assert all(each["unfurl_links"] is each["unfurl_media"] is False for each in posts)


UNREADABLE = [
    b"[1]",
    b"null",
    b'"x"',
    b"",
    b"\xff{",
    b"[" * 50_000,
    b'{"ok":true,"user_id":7}',
    b'{"ok":true}',
]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/html"])
@pytest.mark.parametrize("body", [*UNREADABLE, b"ok"], ids=lambda body: str(body[:24]))
async def test_an_answer_that_cannot_be_read_is_none(body: bytes, content_type: str) -> None:
    """Fault: what a proxy says in Slack's place was no error of Slack's, and nothing waited for it to end."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_route("*", "/api/{method}", answer)
    async with (
        TestServer(app) as server,
        open_api("xoxb-test", str(server.make_url("/api/")), Timing()) as api,
    ):
        with pytest.raises(Unreachable):
            await api.identify()
        state, _ = await TokenProbe(api, Timing())()
        assert state == "degraded"
        if not body.startswith(b"{"):
            with pytest.raises(Unreachable):
                await api.read("users.info", user=ALICE)
            with pytest.raises(Unreachable):
                await api.write("chat.postMessage", text="hello")


SESSIONS = "agents.sessions.setStatus"
OF_THE_WORKSPACE = ["unknown_method", "feature_disabled", "no_permission", "access_denied", "missing_scope"]


@pytest.mark.parametrize("error", OF_THE_WORKSPACE)
async def test_sessions_that_a_workspace_does_not_know_are_not_asked_for_at_every_turn(
    slack: Slack, redis: Redis, error: str
) -> None:
    slack.fail(SESSIONS, error=error, times=FOR_EVER)
    async with ask_question(slack, redis) as question:
        for id in ("one", "two"):
            await replace(question, id=id, state={}).answer(Text("Yes."))
    assert slack.count(SESSIONS) == 1
    assert slack.count("assistant.threads.setStatus") >= 2  # a line of text instead


@pytest.mark.parametrize("error", ["thread_not_found", "invalid_thread_ts", "not_in_the_documentation"])
async def test_a_session_that_one_thread_cannot_have_is_asked_for_in_others(
    slack: Slack, redis: Redis, error: str
) -> None:
    """Fault: the refusal for one deleted question took the stop button from the workspace for an hour."""
    slack.fail(SESSIONS, error=error)
    async with ask_question(slack, redis) as question:
        for id in ("one", "two"):
            await replace(question, id=id, state={}).answer(Text("Yes."))
    assert slack.count(SESSIONS) == 2  # the refusal, then a beginning, whose end comes with the stream
    assert [each.status for each in slack.workspace.session_statuses] == ["processing", "active"]


async def test_sessions_are_asked_for_again_after_a_time(slack: Slack, redis: Redis) -> None:
    """The workspace may have got them, or the app its permission."""
    fault = slack.fail(SESSIONS, error="feature_disabled", times=FOR_EVER)
    hasty = Timing(session_retry_interval=0, status_delay=0)
    async with ask_question(slack, redis) as question, open_api(slack.bot_token, slack.api_url, hasty) as api:
        status = Status(api, RateLimits(RedisCoordination(redis, "one")), hasty)

        async def keep(state: Any) -> None:
            """Nothing is kept."""

        for _ in range(2):
            async with status.at_work(question.thread, Receipt(question.turn, keep), Session()):
                fault.lift()
    assert [each.status for each in slack.workspace.session_statuses] == ["processing", "active"]


async def test_a_session_ends_even_if_the_workspace_has_lost_them_meanwhile(
    slack: Slack, redis: Redis
) -> None:
    """Fault: a session that was not ended looked busy for an hour."""
    timing = Timing(status_delay=0)
    async with (
        ask_question(slack, redis) as question,
        open_api(slack.bot_token, slack.api_url, timing) as api,
    ):
        status = Status(api, RateLimits(RedisCoordination(redis, "one")), timing)

        async def keep(state: Any) -> None:
            """Nothing is kept."""

        async with status.at_work(question.thread, Receipt(question.turn, keep), Session()):
            slack.fail(SESSIONS, error="feature_disabled")
            async with status.at_work(question.thread, Receipt(question.turn, keep), Session()):
                """The refusal of another thread, as far as the workspace is concerned."""
    assert [each.status for each in slack.workspace.session_statuses] == ["processing", "active"]
