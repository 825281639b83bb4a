"""Callers over HTTP: each token and each user of a trusted proxy is a person with threads of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.app import Bot
from tests.support.bot import http_port, run_bot

SHARED, ADA, BOB, PROXY = (f"{name}-token-of-the-test" for name in ("shared", "ada", "bob", "proxy"))

Json = dict[str, Any]


class Client:
    """Client of the bot under test with one token; `headers` are sent beside it."""

    def __init__(self, bot: Bot, session: aiohttp.ClientSession, token: str, **headers: str) -> None:
        self._base = f"http://127.0.0.1:{http_port(bot)}"
        self._session = session
        self._headers = {"Authorization": f"Bearer {token}", **headers}

    async def send(
        self, method: str, path: str, body: Json | None = None, **headers: str
    ) -> tuple[int, Json]:
        headers = self._headers | headers
        async with self._session.request(method, self._base + path, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def ask(self, message: str, thread: str = "t", **headers: str) -> str:
        status, answer = await self.send(
            "POST", "/chat", {"message": message, "thread_id": thread}, **headers
        )
        assert status == 200, answer
        return str(answer["response"])


@pytest.fixture
async def bot(redis_url: str, redis: Redis) -> AsyncIterator[Bot]:
    async with run_bot(
        redis_url=redis_url,
        api_token=SHARED,
        api_tokens=f"ada:{ADA},bob:{BOB}",
        trusted_user_header="X-Forwarded-User",
        trusted_proxy_token=PROXY,
        admin_users="http:ada",
    ) as bot:
        yield bot


@asynccontextmanager
async def clients(bot: Bot, *tokens: str) -> AsyncIterator[list[Client]]:
    async with aiohttp.ClientSession() as session:
        yield [Client(bot, session, token) for token in tokens]


async def test_each_token_has_threads_and_memory_of_its_own(bot: Bot) -> None:
    """Also under the same thread id, with the same idempotency key."""
    async with clients(bot, SHARED, ADA, BOB) as [shared, ada, bob]:
        key = {"Idempotency-Key": "same"}
        for client, colour in ((shared, "crimson"), (ada, "emerald"), (bob, "cobalt")):
            await client.ask(f"remember that my colour is {colour}", **key)
        for client, colour in ((shared, "crimson"), (ada, "emerald"), (bob, "cobalt")):
            status, kept = await client.send("GET", "/memory")
            others = {"crimson", "emerald", "cobalt"} - {colour}
            assert status == 200
            assert colour in str(kept)
            assert not any(each in str(kept) for each in others)


async def test_an_answer_of_another_caller_is_not_known(bot: Bot) -> None:
    async with clients(bot, ADA, BOB) as [ada, bob]:
        headers = {"Accept": "text/event-stream"} | ada._headers
        body = {"message": "hello", "thread_id": "t"}
        async with ada._session.post(f"{ada._base}/chat", json=body, headers=headers) as response:
            events = await response.text()
        answer = events.split('"answer": "')[1][:20]
        assert (await ada.send("GET", f"/answers/{answer}"))[0] == 200
        assert (await bob.send("GET", f"/answers/{answer}"))[0] == 404
        assert (await bob.send("POST", f"/answers/{answer}/regenerate", {}))[0] == 409
        assert (await bob.send("POST", f"/answers/{answer}/vote", {"vote": "up"}))[0] == 404


async def test_what_administrators_can_do_is_refused_to_others(bot: Bot) -> None:
    """The shared token can do it as before."""
    get = {"operation": "get", "key": "a"}
    async with clients(bot, SHARED, ADA, BOB) as [shared, ada, bob]:
        for client, status, sees in ((shared, 200, True), (ada, 200, True), (bob, 403, False)):
            assert (await client.send("POST", "/redis/direct", get))[0] == status
            health = (await client.send("GET", "/health"))[1]["agent_status"]["redis"]
            assert health["state"] == "ok"
            assert (len(health) > 1) == sees


async def test_users_of_a_proxy_are_those_whom_it_names(bot: Bot) -> None:
    """Their names do not collide with those of tokens, and only the proxy can name them."""
    async with aiohttp.ClientSession() as session:
        for name in ("ada@example.com", "ADA@example.com"):
            user = Client(bot, session, PROXY, **{"X-Forwarded-User": name})
            await user.ask("remember that my colour is vermilion")
        assert "vermilion" in str((await user.send("GET", "/memory"))[1])
        named = Client(bot, session, PROXY, **{"X-Forwarded-User": "api"})
        assert (await named.send("POST", "/redis/direct", {"operation": "info"}))[0] == 403
        forged = Client(bot, session, BOB, **{"X-Forwarded-User": "ada@example.com"})
        assert "vermilion" not in str((await forged.send("GET", "/memory"))[1])
        for value in (
            "",
            "two words",
            "a,b",
            "x" * 201,
            "\N{KELVIN SIGN}im",
            "\N{FULLWIDTH LATIN SMALL LETTER A}da",
        ):
            nobody = Client(bot, session, PROXY, **{"X-Forwarded-User": value})
            assert (await nobody.send("GET", "/memory"))[0] == 403
        assert (await Client(bot, session, PROXY).send("GET", "/memory"))[0] == 403
