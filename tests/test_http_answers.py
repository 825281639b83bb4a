"""Buttons below an answer over HTTP: feedback, details and another answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bot.access.answers import AnswerStore
from bot.app import Bot
from bot.chat import AnswerDetails, ThreadId
from tests.servers.model import ModelServer, Script
from tests.support.answers import turns_ended
from tests.support.bot import http_port, run_bot
from tests.support.settings import of_model


class Page:
    """The page, as far as the bot sees it."""

    def __init__(self, bot: Bot, session: aiohttp.ClientSession) -> None:
        self._base = f"http://127.0.0.1:{http_port(bot)}"
        self._session = session

    async def ask(self, message: str, thread: str = "t1") -> dict[str, Any]:
        """Ask, and return the data of each kind of event; the last one counts."""
        return await self.events("/chat", {"message": message, "thread_id": thread})

    async def events(self, path: str, body: Any) -> dict[str, Any]:
        """Return the data of the events of an answer."""
        headers = {"Accept": "text/event-stream"}
        async with self._session.post(self._base + path, json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            frames = (await response.text()).split("\n\n")
        lines = [each.split("\n") for each in frames if each.startswith("event: ")]
        return {name.removeprefix("event: "): json.loads(data.removeprefix("data: ")) for name, data in lines}

    @asynccontextmanager
    async def stream(self, path: str, body: Any) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
        """Yield the events of an answer as they come, each with its data."""

        async def read() -> AsyncIterator[tuple[str, Any]]:
            name = ""
            async for line in response.content:
                field, _, value = line.decode().strip().partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)

        headers = {"Accept": "text/event-stream"}
        async with self._session.post(self._base + path, json=body, headers=headers) as response:
            yield read()

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Return the status and the sentence of an answer."""
        async with self._session.request(method, self._base + path, json=body) as response:
            told = await response.json()
            return response.status, told.get("response") or told["message"]


@pytest_asyncio.fixture
async def page(storage: dict[str, Any], model: ModelServer) -> AsyncIterator[Page]:
    """The page of a running bot."""
    async with run_bot(**storage, **of_model(model)) as bot, aiohttp.ClientSession() as session:
        yield Page(bot, session)


async def test_an_answer_over_http_can_be_rated_and_described(
    page: Page, model: ModelServer, redis: Redis
) -> None:
    """All callers share one token, and so one vote."""
    model.respond = lambda _: "It is Monday."
    events = await page.ask("which day is it?")
    assert events["done"]["response"] == "It is Monday."
    assert events["buttons"]["can_be_rated"] is True
    path = f"/answers/{events['buttons']['answer']}"
    await turns_ended()
    assert (await page.call("POST", f"{path}/vote", {"vote": "up"}))[0] == 200
    assert (await page.call("POST", f"{path}/vote", {"vote": "down", "reason": "No."}))[0] == 200
    assert (await page.call("POST", f"{path}/vote", {"vote": "sideways"}))[0] == 400
    rated = [(each.by, each.vote, each.reason) async for each in AnswerStore(redis).all_feedback()]
    assert rated == [("http:api", "down", "No.")]
    status, details = await page.call("GET", path)
    assert status == 200
    assert "main-model" in details
    assert "no tools" in details


async def test_an_answer_over_http_can_be_rated_while_it_grows_and_at_once_when_it_is_complete(
    page: Page, model: ModelServer, redis: Redis
) -> None:
    """Fault: the answer was not known until its turn had ended, which is after the last event."""
    gate = asyncio.Event()
    model.script(Script(text="It is", tool_calls=[("current_time", {})]), Script(text="Monday.", gate=gate))
    statuses = []
    async with page.stream("/chat", {"message": "which day is it?", "thread_id": "t1"}) as events:
        async for name, data in events:
            if name == "buttons":
                path = f"/answers/{data['answer']}/vote"
                statuses.append((await page.call("POST", path, {"vote": "down"}))[0])
                gate.set()
            elif name == "done":
                statuses.append((await page.call("POST", path, {"vote": "up"}))[0])
    assert statuses == [200, 200]
    await turns_ended()
    assert [each.vote async for each in AnswerStore(redis).all_feedback()] == ["up"]
    (key,) = [each async for each in redis.scan_iter("{bot}:answer:*")]
    assert await redis.ttl(key) > 89 * 86_400


async def test_another_answer_follows_on_its_request(page: Page, model: ModelServer) -> None:
    """A repeated request gets the same one; an older answer is refused in a sentence."""
    answers = iter(["First.", "Second.", "Third."])
    model.respond = lambda _: next(answers)
    first = (await page.ask("tell me a story"))["buttons"]["answer"]
    for _ in range(2):
        events = await page.events(f"/answers/{first}/regenerate", {})
        assert events["done"]["response"].endswith("Second.")
        assert events["done"]["thread_id"] == "t1"
    assert "First." not in str(model.requests[-1]["messages"])
    await page.ask("and then?")
    assert len(model.requests) == 3
    status, sentence = await page.call("POST", f"/answers/{first}/regenerate", {})
    assert (status, sentence) == (409, "Only the last answer of a conversation can be regenerated.")
    unknown = "0123456789" * 2
    assert (await page.call("POST", f"/answers/{unknown}/regenerate", {}))[0] == 409
    assert (await page.call("POST", "/answers/nonsense/regenerate", {}))[0] == 404


@pytest.mark.parametrize("thread", [None, ThreadId("slack", "T1", "C1", "1.5"), ThreadId("http", "x", "t1")])
async def test_answers_of_others_are_not_known_over_http(
    page: Page, redis: Redis, thread: ThreadId | None
) -> None:
    """An id can be computed from that of a message, so it opens nothing by itself; nothing is stored."""
    answer = "0123456789" * 2
    if thread:
        details = AnswerDetails(
            reference="01", thread=thread, turn="1", message="1", replaces="", at=1.0, seconds=1.0
        )
        value = AnswerStore(redis).details_value(answer, details)
        await redis.set(value.key, value.text)
    for method, path, body in (("GET", "", None), ("POST", "/vote", {"vote": "down", "reason": "No."})):
        status, sentence = await page.call(method, f"/answers/{answer}{path}", body)
        assert (status, sentence) == (404, "I no longer know this answer, or it is not finished yet.")
    assert (await page.call("POST", f"/answers/{answer}/regenerate", {}))[0] == 409
    assert not [each async for each in redis.scan_iter("{bot}:feedback:*")]
    assert not await redis.exists("{bot}:rated")


async def test_a_caller_who_is_not_allowed_reaches_no_answer(
    storage: dict[str, Any], model: ModelServer
) -> None:
    """As they cannot ask."""
    settings = {**storage, **of_model(model), "allowed_users": {"slack:U1"}}
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        status, sentence = await Page(bot, session).call("GET", f"/answers/{'0' * 20}")
    assert status == 403
    assert "not allowed" in sentence


async def test_a_request_for_another_answer_that_failed_can_be_repeated(
    page: Page, model: ModelServer
) -> None:
    """Fault: it got the failure for ever, and the page's button to try again led nowhere."""
    model.script("First.", Script(status=400), "Second.")
    path = f"/answers/{(await page.ask('tell me a story'))['buttons']['answer']}/regenerate"
    assert (await page.call("POST", path, {}))[0] == 502
    for _ in range(2):
        status, words = await page.call("POST", path, {})
        assert (status, words.split()[-1]) == (200, "Second.")
    assert len(model.requests) == 3
