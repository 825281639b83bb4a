"""Checks of the lease before visible writes: a process that was suspended writes nothing afterwards."""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from redis.asyncio import Redis

from bot.chat import Halt, Json, LeaseLost, Receipt, Turn
from bot.inbox import Inbox, Lookup, serve
from bot.inbox.lease import Lease
from bot.platforms.request_guard import guard_requests, trace_config
from tests.support.inbox import a_message, an_inbox
from tests.support.wait import wait_until

LEASE_SECONDS = 0.3


class LateInbox(Inbox):
    """Inbox of a process that reads the replies of Redis late, as after a suspension."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis, name="suspended", follow_days=30)
        self.is_late = False
        self.has_replies = False
        self.goes_on = asyncio.Event()

    async def _suspend(self) -> None:
        if self.is_late:
            self.has_replies = True
            await self.goes_on.wait()

    async def renew(self, turns: Mapping[Lease, str]) -> tuple[list[Lease], set[str]]:
        reply = await super().renew(turns)
        await self._suspend()
        return reply

    async def keep(self, lease: Lease, turn: Turn, receipt: Mapping[str, Json]) -> None:
        await super().keep(lease, turn, receipt)
        await self._suspend()


@pytest.mark.parametrize("has_notes", [False, True])
async def test_a_reply_about_the_lease_that_is_read_too_late_permits_no_write(
    redis: Redis, has_notes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis said that the lease was held; another process took it over before the reply was read."""
    inbox, other = LateInbox(redis), an_inbox(redis, "other")
    writes: list[bool] = []
    """For each write, whether the thread was taken over before it."""
    was_taken_over = False

    async def work(turn: Turn, receipt: Receipt, halt: Halt) -> None:
        inbox.is_late = True
        while True:
            if has_notes:
                receipt.note(pages=["17.1"])
            await receipt.hold()
            writes.append(was_taken_over)
            await asyncio.sleep(0)

    async def take_over() -> bool:
        return bool(await other.take_over(int(LEASE_SECONDS * 1000), 1))

    stop = asyncio.Event()
    await inbox.put(a_message("hello"))
    async with Lookup(redis).news("stop") as stops, asyncio.TaskGroup() as group:
        serving = serve(inbox, work, limit=1, lease_seconds=LEASE_SECONDS, grace=0, stop=stop, stops=stops)
        group.create_task(serving)
        await other.ensure_group()
        await wait_until(lambda: inbox.has_replies, "a reply is late")
        await wait_until(take_over, "the other process takes the thread over")
        was_taken_over, inbox.is_late = True, False
        inbox.goes_on.set()
        await wait_until(lambda: "lease lost, turn abandoned" in caplog.messages, "the turn is abandoned")
        stop.set()
    assert True not in writes


class Server:
    """Web server that records the requests that reach it, and answers while it may."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.may_answer = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(await request.text())
        await self.may_answer.wait()
        return web.Response(text="done")

    async def start(self) -> tuple[web.AppRunner, str]:
        app = web.Application()
        app.router.add_post("/", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/"


async def test_a_request_whose_lease_is_lost_while_it_waits_for_a_connection_is_not_sent() -> None:
    """It is checked when its headers are about to be sent; the session can be used afterwards."""
    server = Server()
    runner, url = await server.start()
    is_lost = False

    async def check(*_: Any) -> None:
        if is_lost:
            raise LeaseLost("thread")

    async def post(session: aiohttp.ClientSession, text: str) -> str:
        async with guard_requests(check, 10.0), session.post(url, data=text) as response:
            return await response.text()

    connector = aiohttp.TCPConnector(limit=1)
    try:
        async with aiohttp.ClientSession(connector=connector, trace_configs=[trace_config()]) as session:
            first = asyncio.create_task(post(session, "first"))
            await wait_until(lambda: server.requests == ["first"], "it has the only connection")
            second = asyncio.create_task(post(session, "second"))
            await wait_until(lambda: bool(connector._waiters), "it waits for the connection")
            is_lost = True
            server.may_answer.set()
            assert await first == "done"
            with pytest.raises(LeaseLost):
                await second
            is_lost = False
            assert await post(session, "third") == "done"
    finally:
        await runner.cleanup()
    assert server.requests == ["first", "third"]
