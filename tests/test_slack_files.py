"""Files of an answer on Slack: shown once, in the thread, whatever happens on the way."""

import contextlib
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import File, FileRefused, Notice, Text, Unreachable
from bot.slack.content import content_of
from bot.storage.files import FileStore
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.servers.slack.workspace import File as SharedFile
from tests.support.files import PICTURE, expired_file
from tests.support.slack_reply import ask_question, replies


@pytest.fixture
async def picture(redis: Redis) -> File:
    return await FileStore(redis).keep("sales-1a2b3c4d.png", "image/png", PICTURE, "Sales go up")


# a group's direct message takes no streams
@pytest.mark.parametrize("kind", ["channel", "mpim"])
async def test_a_file_is_shown_in_the_thread_below_the_text_with_its_words(
    slack: Slack, redis: Redis, picture: File, kind: str
) -> None:
    async with ask_question(slack, redis, kind) as question:
        await question.answer(Text("Here it is:\n\n"), picture, Text("It goes up."))
        assert replies(slack, question) == [
            ("Here it is:\n\nIt goes up.", []),
            ("", ["sales-1a2b3c4d.png"]),
        ]
        [file] = slack.replies(GENERAL, question.thread.thread)[-1].files
        assert (file.data, file.alt) == (PICTURE, "Sales go up")


async def test_an_answer_that_is_only_a_file_is_shown(slack: Slack, redis: Redis, picture: File) -> None:
    async with ask_question(slack, redis) as question:
        await question.answer(picture)
        assert replies(slack, question) == [("", ["sales-1a2b3c4d.png"])]


async def test_a_file_is_shown_that_came_while_the_stream_of_a_dead_attempt_was_looked_for(
    slack: Slack, redis: Redis, picture: File
) -> None:
    """There is none, so the whole answer is known before its own stream is opened."""
    async with ask_question(slack, redis) as question:
        question.state["opening"] = {"stream": True}
        await question.answer(Text("Here it is."), picture)
        assert replies(slack, question) == [("Here it is.", []), ("", ["sales-1a2b3c4d.png"])]


@pytest.mark.parametrize("after_applying", [False, True])
async def test_a_file_is_shown_once_though_nobody_knows_what_came_of_the_upload(
    slack: Slack, redis: Redis, picture: File, after_applying: bool
) -> None:
    """A connection that is lost before or after Slack has done what we asked."""
    slack.fail("files.completeUploadExternal", times=3, status=503, after_applying=after_applying)
    async with ask_question(slack, redis) as question:
        answer = (Text("Here it is. "), picture, Text("It goes up."))
        for _ in range(4):
            with contextlib.suppress(Unreachable):
                await question.answer(*answer)
        assert question.state["finished"]
        assert replies(slack, question) == [
            ("Here it is. It goes up.", []),
            ("", ["sales-1a2b3c4d.png"]),
        ]


async def test_a_finished_answer_shows_its_file_no_second_time(
    slack: Slack, redis: Redis, picture: File
) -> None:
    async with ask_question(slack, redis) as question:
        for _ in range(2):
            await question.answer(picture)
        del question.state["finished"]  # as if that had not been stored any more
        await question.answer(picture)
        assert replies(slack, question) == [("", ["sales-1a2b3c4d.png"])]


async def test_an_app_without_the_permission_says_whom_to_ask_and_answers_all_the_same(
    slack: Slack, redis: Redis, picture: File
) -> None:
    slack.web_api.scopes.discard("files:write")
    slack.tolerate("missing_scope")
    async with ask_question(slack, redis) as question:
        await question.answer(Text("Here it is."), picture, Text(" It goes up."))
        [(text, files)] = replies(slack, question)
        assert text.startswith("Here it is. It goes up.")
        assert "install it again from manifest.yml (scope files:write)" in text
        assert files == []


@pytest.mark.parametrize("kind", ["channel", "mpim"])
async def test_a_file_that_cannot_be_shown_costs_a_sentence_and_not_the_answer(
    slack: Slack, redis: Redis, picture: File, kind: str
) -> None:
    slack.fail("files.getUploadURLExternal", error="storage_limit_reached")
    async with ask_question(slack, redis, kind) as question:
        await question.answer(Text("Here they are."), expired_file(), picture)
        [(text, _)] = replies(slack, question)
        assert "gone.png: I no longer have it." in text
        assert "sales-1a2b3c4d.png: Slack does not accept it (storage_limit_reached)." in text


async def test_an_upload_host_that_fails_costs_the_file_and_not_the_answer(
    slack: Slack, redis: Redis, picture: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: Any, url: str, content: bytes) -> None:
        raise Unreachable("no route to the host of files")

    monkeypatch.setattr("bot.slack.api.SlackApi.upload", refuse)
    async with ask_question(slack, redis) as question:
        await question.answer(Text("Here it is."), picture, Notice("That is all."))
        [(text, _)] = replies(slack, question)
        assert "Slack did not accept the upload" in text
        assert "That is all." in text


async def test_a_stream_that_was_being_opened_is_not_mistaken_for_a_file(
    slack: Slack, redis: Redis, picture: File
) -> None:
    """Neither has a key; only the stream is to be ended and edited."""
    async with ask_question(slack, redis) as question:
        await question.answer(picture)
        question.state = {"opening": {"stream": True}, "files": question.state["files"]}
        await question.answer(picture, Text("It goes up."))
        assert replies(slack, question) == [("", ["sales-1a2b3c4d.png"]), ("It goes up.", [])]


async def test_a_file_of_slack_connect_is_looked_up_before_it_is_read(slack: Slack, redis: Redis) -> None:
    """The event has its id alone; what Slack does not show is refused with a sentence."""
    slack.workspace.files["F0CONNECT1"] = SharedFile("F0CONNECT1", "q3.csv", "text/csv", b"a,b", ALICE, 3)
    slack.workspace.files["F0PAGE0001"] = SharedFile(
        "F0PAGE0001", "x.csv", "text/csv", b"<html>Slack", ALICE, 11
    )
    async with ask_question(slack, redis) as question:

        async def read(id: str) -> bytes | str:
            named = content_of({"files": [{"id": id, "file_access": "check_file_info"}]}, "U0BOT").files[0]
            try:
                return await question.platform.fetch(question.turn.messages[-1], named, 100)
            except FileRefused as error:
                return str(error)

        assert await read("F0CONNECT1") == b"a,b"
        assert "files:read" in str(await read("F0PAGE0001"))
        assert await read("F0UNKNOWN1") == "it was deleted, or I have no access to it"
        slack.fail("files.info", error="access_denied")
        assert await read("F0CONNECT1") == "Slack does not let me see it"
        slack.fail("files.info", error="internal_error")
        assert await read("F0CONNECT1") == "its server is not responding; please try again in a few minutes"


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        ("application/xml", b'<?xml version="1.0"?><hooks><slack channel="#ops"/></hooks>'),
        ("image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg"><text>Slack</text></svg>'),
        ("text/plain", b"<@U0ALICE> pasted from Slack"),
        ("text/html", b"<!DOCTYPE html><title>Slack, a review</title>"),
    ],
)
async def test_a_file_that_only_mentions_slack_is_read(
    slack: Slack, redis: Redis, media_type: str, content: bytes
) -> None:
    """Fault: whatever began with `<` and mentioned Slack was taken for the page to sign in at."""
    slack.workspace.files["F0MENTION1"] = SharedFile(
        "F0MENTION1", "a.txt", media_type, content, ALICE, len(content)
    )
    async with ask_question(slack, redis) as question:
        [file] = content_of({"files": [{"id": "F0MENTION1", "file_access": "check_file_info"}]}, "U").files
        assert await question.platform.fetch(question.turn.messages[-1], file, 1_000) == content


async def test_a_file_that_another_service_keeps_is_refused_with_a_sentence(
    slack: Slack, redis: Redis
) -> None:
    """Our token never goes there."""
    drive = {"id": "F1", "name": "Plan", "is_external": True, "url_private": "https://docs.example.com/x"}
    async with ask_question(slack, redis) as question:
        [plan] = content_of({"files": [drive]}, "U0BOT").files
        with pytest.raises(FileRefused, match="not on the service's own servers"):
            await question.platform.fetch(question.turn.messages[-1], plan, 100)
