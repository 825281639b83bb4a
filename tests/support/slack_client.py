"""Slack SDK and Bolt as clients of the Slack server for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.servers.slack.service import ALICE, GENERAL, PROXY_VARIABLES, TEAM, Slack

Json = Any

RECIPIENT: dict[str, Json] = {"recipient_team_id": TEAM, "recipient_user_id": ALICE}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables that the SDK and Bolt read on their own."""
    for name in (*PROXY_VARIABLES, "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    """Yield a Slack server that redelivers soon."""
    async with Slack(redelivery_delays=(0.0, 0.02, 0.02)) as server:
        server.grant("files:write", "reactions:write", "users:read")
        yield server


@pytest.fixture
def client(slack: Slack) -> AsyncWebClient:
    """Return the SDK's client of the server."""
    return AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, retry_handlers=[])


@pytest.fixture
async def root(slack: Slack) -> str:
    """Return the `ts` of a question in the channel."""
    return await slack.say(ALICE, GENERAL, "a question")


@asynccontextmanager
async def socket_mode(slack: Slack, app: AsyncApp, ping_interval: float = 10) -> AsyncIterator[None]:
    """Run a Bolt app in Socket Mode."""
    handler = AsyncSocketModeHandler(app, slack.app_token, ping_interval=ping_interval)
    before = len(slack.sockets)
    await handler.connect_async()  # type: ignore[no-untyped-call] # Bolt leaves it untyped
    try:
        await slack.wait_for_connections(before + 1)
        yield
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call] # Bolt leaves it untyped


async def error_of(call: Any) -> str:
    """Return the error code that a call ends with."""
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


@asynccontextmanager
async def serve(app: AsyncApp | web.Application) -> AsyncIterator[str]:
    """Serve an app over HTTP, and yield the address of its events."""
    inner = app.web_app("/slack/events") if isinstance(app, AsyncApp) else app
    runner = web.AppRunner(inner)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    finally:
        await runner.cleanup()


async def raw_socket(slack: Slack, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
    """Return a Socket Mode connection without the SDK, after its hello."""
    opened = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token=slack.app_token)
    socket = await session.ws_connect(str(opened["url"]))
    assert (await socket.receive_json())["type"] == "hello"
    return socket


def section(text: str) -> dict[str, Json]:
    """Return a block of text."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def button(**fields: Json) -> dict[str, Json]:
    """Return a button."""
    text = {"type": "plain_text", "text": "Press"}
    return {"type": "button", "action_id": "press", "text": text} | fields


async def start(client: AsyncWebClient, root: str, **arguments: Json) -> str:
    """Start a stream in the thread, and return its `ts`."""
    recipient: dict[str, Json] = RECIPIENT | arguments
    answer = await client.chat_startStream(channel=GENERAL, thread_ts=root, **recipient)
    return str(answer["ts"])
