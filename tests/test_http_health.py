"""Life cycle and health of the HTTP server: starts, refuses, drains, and tells the state of each part."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from bot.chat import CredentialsRejected, Health, Message, TextDecision, ThreadId
from bot.commands.decisions import Chooser, DecisionAnswer
from bot.http.platform import Http
from bot.http.timing import Timing
from bot.platforms.receiver import Webhook
from tests.support import http_worker
from tests.support.http_server import credentials
from tests.support.http_worker import (
    NO_FILES,
    STREAM,
    TIMING,
    TOKEN,
    EmptyInbox,
    NoConversations,
    Setup,
    Worker,
    echo,
    get,
    healthy,
    is_taking,
    open_server,
    serve_chat,
)
from tests.support.wait import wait_until

setup = http_worker.setup


# --- life cycle -----------------------------------------------------------------------------------------


async def test_chat_is_refused_politely_before_and_after_receive(setup: Setup) -> None:
    async with open_server() as http:
        url = f"http://127.0.0.1:{http.port}"

        async def status(path: str) -> int:
            async with setup.client.get(url + path) as response:
                return response.status

        async def refused() -> bool:
            async with setup.client.post(url + "/chat", json={"message": "x"}) as response:
                return response.status == 503 and int(response.headers["Retry-After"]) > 0

        assert await refused()
        assert (await status("/livez"), await status("/readyz")) == (200, 503)
        worker = Worker(http, echo, asyncio.TaskGroup())
        async with worker.tasks:
            receiving = worker.tasks.create_task(http.receive(worker.deliver, healthy()))
            await wait_until(lambda: is_taking(http), "the server takes messages")
            assert await status("/readyz") == 200
            receiving.cancel()
            await asyncio.wait([receiving])
            assert await refused()
            assert (await status("/livez"), await status("/readyz")) == (200, 503)


async def test_leaving_lets_a_running_request_finish_and_then_refuses_connections() -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        entered.set()
        await go_on.wait()
        return web.Response(text="finished")

    async def post(client: aiohttp.ClientSession, port: int) -> str:
        async with client.post(f"http://127.0.0.1:{port}/slow") as response:
            return await response.text()

    async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as tasks:
        async with open_server(webhooks={"/slow": Webhook(slow)}) as http:
            request = tasks.create_task(post(client, http.port))
            await entered.wait()
            asyncio.get_running_loop().call_later(0.05, go_on.set)
        assert await request == "finished"
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", http.port)


async def test_leaving_releases_callers_that_still_wait() -> None:
    async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as tasks:
        async with open_server() as http, asyncio.TaskGroup() as receivers:
            worker = Worker(http, echo, receivers, holding=True)
            receiving = receivers.create_task(http.receive(worker.deliver, healthy()))
            await wait_until(lambda: is_taking(http), "the server takes messages")
            caller = tasks.create_task(status_of_chat(client, http.port))
            await wait_until(lambda: bool(worker.messages), "the message arrives")
            receiving.cancel()
        assert await caller == 503


async def status_of_chat(client: aiohttp.ClientSession, port: int) -> int:
    async with client.post(f"http://127.0.0.1:{port}/chat", json={"message": "x"}) as response:
        return response.status


async def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CredentialsRejected, match=f"HTTP_PORT={port} is in use"):
            await open_and_close("127.0.0.1", port, None)


async def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(CredentialsRejected, match=r"HTTP_HOST=192\.0\.2\.1 is not an address to listen on"):
        await open_and_close("192.0.2.1", 0, TOKEN)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
async def test_without_a_token_only_loopback_is_served(host: str) -> None:
    with pytest.raises(CredentialsRejected, match="API_TOKEN"):
        await open_and_close(host, 0, None)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2"])
async def test_loopback_needs_no_token(host: str) -> None:
    await open_and_close(host, 0, None)


async def open_and_close(host: str, port: int, api_token: str | None) -> None:
    http = Http(
        host=host,
        port=port,
        credentials=credentials(api_token),
        lookup=EmptyInbox(),
        files=NO_FILES,
        conversations=NoConversations(),
        timing=TIMING,
    )
    async with http.serve(healthy(), {}):
        pass


# --- health ---------------------------------------------------------------------------------------------


async def test_health_tells_each_part_with_its_evidence() -> None:
    parts = Health(name="redis", state="ok", evidence={"ping_ms": 0.2}), Health(name="slack", state="off")
    async with open_server(commands=healthy(*parts)) as http:
        assert await get(http, "/health") == (
            200,
            {
                "status": "healthy",
                "agent_status": {"redis": {"state": "ok", "ping_ms": 0.2}, "slack": {"state": "off"}},
            },
        )


async def test_one_part_that_is_down_makes_the_whole_unhealthy() -> None:
    parts = Health(name="redis", state="ok"), Health(name="postgres", state="down")
    async with open_server(commands=healthy(*parts)) as http:
        status, body = await get(http, "/health")
    assert (status, body["status"]) == (503, "unhealthy")
    assert body["error"] == "postgres is down"
    assert body["agent_status"]["redis"]["state"] == "ok"


async def test_one_part_that_is_degraded_makes_the_whole_degraded() -> None:
    parts = Health(name="redis", state="ok"), Health(name="model", state="degraded")
    async with open_server(commands=healthy(*parts)) as http:
        status, body = await get(http, "/health")
    assert (status, body["status"]) == (200, "degraded")
    assert "error" not in body


async def test_monitors_can_ask_with_head(setup: Setup) -> None:
    """Fault: the routes of the OpenAPI document took GET alone."""
    async with open_server(commands=healthy()) as http:
        for path, status in (("/livez", 200), ("/readyz", 503), ("/health", 200), ("/openapi.json", 200)):
            async with setup.client.head(f"http://127.0.0.1:{http.port}{path}") as response:
                assert (path, response.status, await response.read()) == (path, status, b"")


async def test_many_who_ask_whether_it_is_ready_have_it_examined_once() -> None:
    """Anybody may ask; an examination costs, so its outcome is used again for a second."""
    long = replace(TIMING, ready_max_age=3_600)  # a busy machine may take longer than a second for all
    examined = 0

    async def check_health() -> Sequence[Health]:
        nonlocal examined
        examined += 1
        await asyncio.sleep(0)
        return [Health(name="redis", state="ok")]

    commands = replace(healthy(), check_health=check_health)
    async with open_server(commands=commands, timing=long) as http:
        await asyncio.gather(*(get(http, "/readyz") for _ in range(20)))
        assert examined == 1
        await get(http, "/health")
        assert examined == 2
    async with open_server(commands=commands, timing=replace(TIMING, ready_max_age=0)) as http:
        await get(http, "/readyz")
        assert examined == 3
        await get(http, "/readyz")
        assert examined == 4


async def test_only_a_critical_part_makes_it_unready() -> None:
    async def readiness(*parts: Health) -> tuple[int, str]:
        async with open_server(commands=healthy(*parts)) as http, asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(http.receive(Worker(http, echo, tasks).deliver, healthy()))
            await wait_until(lambda: is_taking(http), "the server takes messages")
            status, body = await get(http, "/readyz")
            receiving.cancel()
        return status, body.get("message", "")

    assert await readiness(Health(name="model", state="down")) == (200, "")
    assert await readiness(Health(name="redis", state="degraded")) == (200, "")
    assert await readiness(Health(name="redis", state="down")) == (503, "Not ready: redis is down.")


@pytest.mark.parametrize("headers", [{}, STREAM])
async def test_a_decision_of_days_ago_is_told_at_once(headers: dict[str, str]) -> None:
    """Its answer is no longer kept, so nothing would ever come."""

    class Late:
        async def decide(
            self, id: str, by: str, *, approve: bool, reason: str = "", name: str = ""
        ) -> DecisionAnswer:
            return DecisionAnswer("This request was already approved by you.", ThreadId("http", "api", "t"))

        async def decide_in_words(self, order: TextDecision, message: Message) -> str:
            raise AssertionError(order)

        async def choose(self, id: str, answer: int | str, by: Chooser) -> DecisionAnswer:
            raise AssertionError(id)

        async def find(self, id: str) -> None:
            raise AssertionError(id)

    commands = replace(healthy(), requests=Late())
    async with (
        serve_chat(commands=commands, timing=Timing(answer_timeout=0.05)) as setup,
        setup.client.post("/approvals/7f3a9c21", json={"approve": True}, headers=headers) as response,
    ):
        told = await response.text()
    assert response.status == 200
    assert "This request was already approved by you." in told
    assert "success" in told


async def test_its_own_health_counts_answers_under_way_and_the_silence(setup: Setup) -> None:
    assert (await setup.http.health()).evidence == {"port": setup.http.port, "answers_under_way": 0}
    setup.worker.holding = True
    async with asyncio.TaskGroup() as callers:
        callers.create_task(setup.chat("x"))
        await wait_until(lambda: bool(setup.worker.messages), "the message arrives")
        assert (await setup.http.health()).evidence["answers_under_way"] == 1
        await setup.worker.take(list(setup.worker.messages.values()))
    health = await setup.http.health()
    assert health.evidence["answers_under_way"] == 0
    assert 0 <= health.evidence["seconds_since_last_message"] < 60
