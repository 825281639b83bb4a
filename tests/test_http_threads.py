"""Conversations over HTTP: listed, shown, renamed, deleted, restored and forgotten, by their owners only."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.app import Bot
from bot.chat import Message, Notice, Question, Table, TableColumn, Text, ThreadId, ToolStep, Turn
from bot.chat.conversations import Transcript
from bot.chat.parts import File
from bot.chat.texts import STOPPED
from bot.concurrency.tasks import cancel
from bot.http.threads import keep_forgetting
from bot.http.transcript import answer_entry, messages, question_entry
from bot.storage.conversations import Limits, RedisConversations
from tests.support.bot import http_port, run_bot
from tests.support.http_caller import http_client
from tests.support.wait import wait_until

ADA, BOB = "ada-token-of-the-test", "bob-token-of-the-test"
THREAD = ThreadId("http", "api", "t")

Json = dict[str, Any]


@pytest.fixture
async def bot(redis_url: str, redis: Redis) -> AsyncIterator[Bot]:
    async with run_bot(redis_url=redis_url, api_tokens=f"ada:{ADA},bob:{BOB}") as bot:
        yield bot


def states(shown: Json) -> list[str]:
    return [each.get("state", each["role"]) for each in shown["messages"]]


async def test_a_conversation_is_listed_found_renamed_and_shown_to_its_owner_alone(bot: Bot) -> None:
    async with http_client(bot, ADA) as ada, http_client(bot, BOB) as bob:
        await ada("POST", "/chat", {"message": "Remember that my colour is teal", "thread_id": "a"})
        await ada("POST", "/chat", {"message": "What is the Weather?", "thread_id": "b"})
        await ada("POST", "/chat", {"message": "And the wind?", "thread_id": "b"})
        await ada("POST", "/chat", {"message": "!health", "thread_id": "b"})
        _, listed = await ada("GET", "/threads")
        assert [each["title"] for each in listed["threads"]] == [
            "What is the Weather?",
            "Remember that my colour is teal",
        ]
        for words, ids in (("wEATHER wind", ["b"]), ("teal", ["a"]), ("absent", [])):
            _, found = await ada("GET", f"/threads?q={words}")
            assert [each["id"] for each in found["threads"]] == ids
        assert (await ada("PATCH", "/threads/b", {"title": "Sky"}))[0] == 200
        status, shown = await ada("GET", "/threads/b")
        assert (status, shown["title"], shown["is_running"]) == (200, "Sky", False)
        assert states(shown) == ["user", "complete", "user", "complete", "user", "complete"]
        assert all(each["response"] for each in shown["messages"] if each["role"] == "agent")
        _, page = await ada("GET", f"/threads?limit=1&before={listed['threads'][0]['updated_at']}")
        assert [each["id"] for each in page["threads"]] == ["a"]
        assert (await bob("GET", "/threads"))[1]["threads"] == []
        for method, path, body in (
            ("GET", "/threads/b", None),
            ("PATCH", "/threads/b", {"title": "x"}),
            ("DELETE", "/threads/b", None),
            ("POST", "/threads/b/restore", {}),
            ("POST", "/threads/b/edit", {"message": "x"}),
            ("GET", "/threads/b/answer", None),
        ):
            assert (await bob(method, path, body))[0] == 404
        assert "teal" in json.dumps((await ada("GET", "/memory"))[1]["listed_conversations"])
        assert (await ada("DELETE", "/memory?confirm=everything"))[0] == 200
        assert (await ada("GET", "/threads"))[1]["threads"] == []


async def test_a_repeated_request_is_one_question_and_an_unchanged_conversation_is_not_sent_again(
    bot: Bot, redis: Redis
) -> None:
    async with http_client(bot, ADA) as ada:
        for _ in range(2):
            await ada("POST", "/chat", {"message": "hello", "thread_id": "a"}, **{"Idempotency-Key": "k"})
        _, shown = await ada("GET", "/threads/a")
        assert states(shown) == ["user", "complete"]
        url = f"http://127.0.0.1:{http_port(bot)}/threads/a"
        headers = {"Authorization": f"Bearer {ADA}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.get(url) as first:
                tag = first.headers["ETag"]
            async with session.get(url, headers={"If-None-Match": tag}) as second:
                assert second.status == 304


async def test_an_edited_question_is_answered_again_in_its_place(bot: Bot) -> None:
    async with http_client(bot, ADA) as ada:
        await ada("POST", "/chat", {"message": "first", "thread_id": "a"})
        await ada("POST", "/chat", {"message": "secnod", "thread_id": "a"})
        body = {"message": "second", "edited_at": 2_000_000_000.0}
        status, answer = await ada("POST", "/threads/a/edit", {"message": "second"})
        assert status == 200, answer
        _, shown = await ada("GET", "/threads/a")
        assert states(shown) == ["user", "complete", "user", "complete"]
        assert [each["text"] for each in shown["messages"][::2]] == ["first", "second"]
        assert shown["messages"][3]["response"] == answer["response"]
        assert (await ada("POST", "/threads/none/edit", body))[0] == 404


async def test_a_deleted_conversation_can_be_restored_and_is_forgotten_afterwards(
    bot: Bot, redis: Redis
) -> None:
    async with http_client(bot, ADA) as ada:
        await ada("POST", "/chat", {"message": "the word is heliotrope", "thread_id": "a"})
        assert (await ada("DELETE", "/threads/a"))[0] == 200
        assert (await ada("GET", "/threads/a"))[0] == 404
        assert (await ada("GET", "/threads"))[1]["threads"] == []
        assert (await ada("POST", "/threads/a/restore", {}))[0] == 200
        assert states((await ada("GET", "/threads/a"))[1]) == ["user", "complete"]
        store = RedisConversations(redis, 30, Limits(undo_seconds=-1))
        assert await store.delete(ThreadId("http", "ada", "a"))
        assert (await ada("POST", "/threads/a/restore", {}))[0] == 404
        assert bot.commands.eraser
        forgetting = asyncio.create_task(keep_forgetting(store, bot.commands.eraser, 0.05))

        async def is_forgotten() -> bool:
            return not await store.expired()

        await wait_until(is_forgotten, "the conversation is forgotten")
        await cancel(forgetting)
        left = [key async for key in redis.scan_iter(match="*ada*") if b"conversation" in key]
        assert left == []
        assert [key async for key in redis.scan_iter(match="checkpoint*http:ada:a*")] == []
        assert "heliotrope" not in str((await ada("GET", "/memory"))[1])


async def test_an_answer_of_a_removed_conversation_does_not_bring_it_back(redis: Redis) -> None:
    store = RedisConversations(redis, 30)
    await store.add(THREAD, "1", "hello", '{"at": 1}')
    await store.delete(THREAD)
    await store.add(THREAD, "2", "a message restores it", '{"at": 2}')
    found = await store.find(THREAD)
    assert found
    assert set(found.questions) == {"1", "2"}
    assert await store.find(ThreadId("http", "other", "t")) is None


async def test_the_oldest_questions_and_conversations_go(redis: Redis) -> None:
    store = RedisConversations(redis, 30, Limits(questions=2, conversations=2))
    for number in range(4):
        await store.add(THREAD, str(number), "hello " * 500, '{"at": 1}')
        await store.add(ThreadId("http", "api", f"t{number}"), "1", "hello", "{}")
    found = await store.find(ThreadId("http", "api", "t3"))
    assert found
    listed = await store.titles(THREAD, "", None, 10)
    assert [each.thread.channel for each in listed] == ["t3", "t"]
    kept = await store.find(THREAD)
    assert kept
    assert set(kept.questions) == {"2", "3"}
    assert len(listed[1].title) <= 80


async def test_a_question_that_is_repeated_often_displaces_no_other(redis: Redis) -> None:
    """A caller may repeat a request until its answer is there."""
    store = RedisConversations(redis, 30, Limits(questions=2, conversations=2))
    for number in ("1", "2", *["2"] * 9):
        await store.add(THREAD, number, "hello", '{"at": 1}')
    kept = await store.find(THREAD)
    assert kept
    assert list(kept.questions) == ["1", "2"]


def turn(id: str, *others: str, regenerates: str = "") -> Turn:
    asked = tuple(
        Message(
            id=each,
            thread=THREAD,
            author="http:api",
            text=each,
            sent_at=float(each[0]),
            addressed=True,
            regenerates=regenerates,
        )
        for each in (id, *others)
    )
    return Turn(id=id, thread=THREAD, messages=asked)


def transcript(*turns: Turn, **answers: str) -> Transcript:
    asked = [each for one in turns for each in one.messages]
    return Transcript("t", 1.0, {each.id: question_entry(each) for each in asked}, answers)


def test_a_transcript_has_the_answers_that_stand() -> None:
    """Of several questions in one turn the last has the answer; a failed attempt leaves the earlier one."""
    two, again, failed = turn("1", "2"), turn("3", regenerates="1"), turn("4", regenerates="1")
    text = "whole"
    entries = {
        "1": answer_entry(two, [Text("old"), Text("!")], {}, ""),
        "3": answer_entry(again, [ToolStep(id="s", name="n", state="started", title=""), Text(text)], {}, ""),
        "4": answer_entry(failed, [], {"failure": {"text": "no", "status": 502}}, ""),
    }
    shown = messages(transcript(two, **entries), is_active=False, now=1e9)
    assert [each.get("response", each.get("text")) for each in shown] == ["1", "2", "whole"]
    one = turn("1")
    for state, active, word in (
        ({"ending": STOPPED}, False, "stopped"),
        (None, True, "running"),
        (None, False, "failed"),
    ):
        entries = {"1": answer_entry(one, [Notice(STOPPED)], state, "")} if state else {}
        assert messages(transcript(one, **entries), is_active=active, now=1e9)[1]["state"] == word


def test_an_answer_of_any_size_is_stored_within_bounds() -> None:
    file = File(id="f", name="rows.csv", media_type="text/csv", size=1)
    rows = tuple(("x" * 1_000,) for _ in range(500))
    table = Table(title="", columns=(TableColumn("a"),), rows=rows, total=500, total_columns=1, file=file)
    step = ToolStep(id="s", name="n", state="finished", title="", output="y" * 100_000)
    stored = answer_entry(turn("1"), [*[Text("z" * 100)] * 2_000, step, table], {}, "")
    assert len(stored) < 60_000
    (words, _, kept) = json.loads(stored)["parts"]
    assert words["text"].endswith("…")
    assert (kept["type"], kept["name"]) == ("file", "rows.csv")


def test_a_decided_request_has_no_buttons_where_it_was_made() -> None:
    asked = Question(
        id="q",
        text="Which?",
        options=("a",),
        respondents=("http:api",),
        asked_at=1,
        expires_at=2,
        asked_in="1",
    )
    decided = Question(
        id="q",
        text="Which?",
        options=("a",),
        respondents=("http:api",),
        asked_at=1,
        expires_at=2,
        asked_in="1",
        state="answered",
        by="http:api",
        answer="a",
    )
    one, two = turn("1"), turn("2")
    first = answer_entry(one, [asked], {}, "http:api")
    waiting = messages(transcript(one, **{"1": first}), is_active=False, now=1e9)
    assert waiting[1]["state"] == "waiting"
    both = {"1": first, "2": answer_entry(two, [decided], {}, "http:api")}
    shown = messages(transcript(one, two, **both), is_active=False, now=1e9)
    assert [each.get("state") for each in shown] == [None, "complete", None, "complete"]
    assert shown[1]["parts"][0]["state"] == "answered"


async def test_only_the_newest_of_a_long_conversation_is_read(redis: Redis) -> None:
    store = RedisConversations(redis, 30, Limits(read_chars=100))
    for number in range(4):
        await store.add(THREAD, str(number), "hello", "x" * 40)
    found = await store.find(THREAD)
    assert found
    assert (list(found.questions), found.has_earlier) == (["2", "3"], True)
