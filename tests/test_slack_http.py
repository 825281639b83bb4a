"""HTTP mode of Slack: only signed requests are read, and none of them is an error of ours."""

import json
import time
from collections.abc import Mapping
from urllib.parse import urlencode

import aiohttp
import pytest

from tests.servers.slack.requests import signed_headers
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support import slack_platform
from tests.support.slack_platform import Connect, Serve, served
from tests.support.wait import wait_until

hostile_environment = slack_platform.hostile_environment
connected = slack_platform.connect_platform
serving = slack_platform.serve
server = slack_platform.server


async def status_of(server: Slack, serving: Serve, body: bytes, headers: Mapping[str, str]) -> int:
    """Return the status of the response to a request, from which no message may come."""
    async with (
        serving(server, app_token=None, signing_secret=server.signing_secret) as bot,
        served(bot.platform) as url,
        aiohttp.ClientSession() as session,
    ):
        await wait_until(lambda: server.count("auth.test") == 1, "it receives")
        async with session.post(url, data=body, headers=headers) as response:
            status = response.status
        assert bot.messages == []
    return status


async def test_without_an_app_token_signed_requests_are_served(server: Slack, serving: Serve) -> None:
    async with (
        serving(server, app_token=None, signing_secret=server.signing_secret) as bot,
        served(bot.platform) as server.request_url,
    ):
        await wait_until(lambda: server.count("auth.test") == 1, "it receives")
        assert await server.verify_url()
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        assert await server.answer(GENERAL, ts) == "You said: hello "
        bot.failures = 1
        await server.say(ALICE, server.dm(ALICE), "again")
        await bot.wait_for_messages(2)
        await server.wait_until_settled()
        again = next(each for each in server.events("message") if each.event.get("text") == "again")
        assert [attempt.failure for attempt in again.attempts] == ["http_error", None]
        assert (await bot.platform.health()).state == "ok"
        command = await server.command("/agent-health", "", ALICE, GENERAL)
        assert command.acked


async def test_a_request_that_slack_did_not_sign_is_refused(server: Slack, serving: Serve) -> None:
    async with (
        serving(server, app_token=None, signing_secret="another secret") as bot,
        served(bot.platform) as server.request_url,
    ):
        await server.say(ALICE, GENERAL, f"{server.mention} hello")
        await server.wait_until_settled()
        assert not any(delivery.acked for delivery in server.deliveries)
        assert bot.messages == []


async def test_before_it_receives_the_endpoint_asks_to_come_again(server: Slack, connected: Connect) -> None:
    async with (
        connected(server, app_token=None, signing_secret=server.signing_secret) as platform,
        served(platform) as url,
        aiohttp.ClientSession() as session,
        session.post(url, json={}) as response,
    ):
        assert response.status == 503
        assert (await platform.health()).state == "down"


async def test_sockets_need_no_webhook(server: Slack, connected: Connect) -> None:
    async with connected(server) as platform:
        assert not platform.webhooks


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[]", 400),
        (b"7", 400),
        (b"{", 400),
        (b"\xff", 401),  # its signature cannot be computed
        (b"[" * 100_000, 400),
        (b'{"event": ' * 20_000, 400),
        (b'{"event": ' * 20_000 + b"1" + b"}" * 20_000, 400),
        (b'{"event": ' + b"9" * 10_000 + b"}", 400),
        (b'{"event": "\\ud800"}', 200),
        (b'{"event": []}', 200),
        (b'{"authorizations": 5}', 200),
        (
            b'{"event": {"type": "message", "channel_type": "im", "user": "U1", "channel": {}, "ts": "1.0"}}',
            200,
        ),
        (
            b'{"event": {"type": "message", "channel_type": "im", "user": "U1", "channel": "D1", "ts": "x"}}',
            200,
        ),
        (
            b'{"event": {"type": "message", "channel_type": "im", "user": [], "channel": "D1", "ts": "1"}}',
            200,
        ),
    ],
)
async def test_a_signed_request_that_cannot_be_read_does_not_come_again(
    server: Slack, body: bytes, status: int, caplog: pytest.LogCaptureFixture, serving: Serve
) -> None:
    """And leaves no trace in the log, except that of our own parser, which may be the one at fault."""
    headers = signed_headers(server.signing_secret, body, "application/json")
    assert await status_of(server, serving, body, headers) == status
    assert not [each for each in caplog.records if each.exc_info and each.name != "bot.slack.platform"]


@pytest.mark.parametrize(
    "payload",
    ["", "[]", "{", "5", "[" * 50_000, '{"user":' * 20_000, '{"type": "block_actions", "user": 5}', "null"],
    ids=lambda payload: payload[:20],
)
async def test_a_signed_form_that_cannot_be_read_is_no_error_of_ours(
    server: Slack, payload: str, caplog: pytest.LogCaptureFixture, serving: Serve
) -> None:
    """The form that commands and presses come in, with a payload of another shape."""
    body = urlencode({"payload": payload}).encode()
    headers = signed_headers(server.signing_secret, body, "application/x-www-form-urlencoded")
    assert await status_of(server, serving, body, headers) < 500
    assert not [each for each in caplog.records if each.exc_info and each.name != "bot.slack.platform"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Slack-Request-Timestamp": "now", "X-Slack-Signature": "v0=0"},
        {"X-Slack-Request-Timestamp": "9" * 400, "X-Slack-Signature": "v0=0"},
        {"X-Slack-Request-Timestamp": "9" * 5_000, "X-Slack-Signature": "v0=0"},
        {"X-Slack-Request-Timestamp": "-1", "X-Slack-Signature": "v0=0"},
        {"X-Slack-Request-Timestamp": "1e9", "X-Slack-Signature": "v0=0"},
        {"X-Slack-Request-Timestamp": str(int(time.time())), "X-Slack-Signature": "v0=é"},
        {"X-Slack-Request-Timestamp": str(int(time.time())), "X-Slack-Signature": "v0=0"},
    ],
)
@pytest.mark.parametrize("body", [b"[]", b"ssl_check=1&token=x", json.dumps({"type": "x"}).encode()])
async def test_without_a_signature_nothing_is_read(
    server: Slack, headers: dict[str, str], body: bytes, serving: Serve
) -> None:
    assert await status_of(server, serving, body, headers) == 401


@pytest.mark.parametrize(("age", "status"), [(0.0, 200), (600.0, 401), (-600.0, 401)])
async def test_a_signature_counts_for_a_few_minutes(
    server: Slack, serving: Serve, age: float, status: int
) -> None:
    """Else a request that somebody has recorded could be sent again."""
    body = json.dumps({"type": "event_callback", "event": {"type": "of_tomorrow"}}).encode()
    headers = signed_headers(server.signing_secret, body, "application/json", age=age)
    assert await status_of(server, serving, body, headers) == status
