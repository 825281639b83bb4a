"""Users who talk with the bot under test over HTTP."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from bot.app import Bot
from tests.support.bot import http_port


async def chat(bot: Bot, message: str, thread: str = "t1") -> str:
    status, answer = await post_chat(bot, message=message, thread_id=thread)
    assert status == 200, answer
    return str(answer["response"])


async def post_chat(bot: Bot, **body: str) -> tuple[int, dict[str, Any]]:
    url = f"http://127.0.0.1:{http_port(bot)}/chat"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return response.status, await response.json()


class Caller:
    """Somebody who talks to the bot over HTTP."""

    def __init__(self, bot: Bot, session: aiohttp.ClientSession) -> None:
        self._base = f"http://127.0.0.1:{http_port(bot)}"
        self._session = session

    async def ask(self, message: str, thread: str = "t") -> str:
        body = {"message": message, "thread_id": thread}
        async with self._session.post(f"{self._base}/chat", json=body) as response:
            return str((await response.json())["response"])

    async def decide(self, request: str, *, approve: bool, reason: str = "") -> tuple[int, str]:
        body = {"approve": approve, "reason": reason}
        async with self._session.post(f"{self._base}/approvals/{request}", json=body) as response:
            told = await response.json()
            return response.status, told["response" if response.status == 200 else "message"]


Send = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


@asynccontextmanager
async def http_client(bot: Bot, token: str) -> AsyncIterator[Send]:
    """Yield a function that sends a request with a token, and returns the status and the JSON body."""
    base = f"http://127.0.0.1:{http_port(bot)}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:

        async def send(
            method: str, path: str, body: dict[str, Any] | None = None, **headers: str
        ) -> tuple[int, dict[str, Any]]:
            async with session.request(method, base + path, json=body, headers=headers) as response:
                return response.status, await response.json()

        yield send
