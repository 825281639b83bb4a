"""The Slack platform against a server that speaks Slack's protocols, over real sockets."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from redis.asyncio import Redis
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.chat import (
    AnswerError,
    CredentialsRejected,
    Event,
    Health,
    Json,
    LeaseLost,
    Message,
    Notice,
    Part,
    PlatformError,
    RateLimited,
    Receipt,
    Stop,
    StorageDown,
    Text,
    ToolStep,
    Turn,
    Undeliverable,
    Unreachable,
)
from bot.commands.commands import Commands
from bot.inbox import Lookup
from bot.platforms import health as platform_health
from bot.slack import health as slack_health
from bot.slack import responses as slack_responses
from bot.slack import socket_mode, stream
from bot.slack.errors import translate_errors
from bot.slack.platform import Slack as SlackPlatform
from bot.slack.platform import connect
from bot.slack.rate_limits import PER_MINUTE, RateLimits
from bot.slack.responses import follow_up
from bot.slack.status import THINKING
from bot.slack.stream import StreamBudget
from bot.storage.coordination import SharedState
from bot.storage.files import FileStore
from tests.servers.slack.requests import signature
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.servers.slack.service import Message as Shown
from tests.support.commands import nothing_to_stop
from tests.support.wait import wait_until


@pytest.fixture(autouse=True)
def hostile_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What slack-sdk and Bolt read from the environment on their own must not matter."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("BOT_TOKEN", "APP_TOKEN", "SIGNING_SECRET", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"SLACK_{name}", "from-the-environment")
    monkeypatch.setattr(socket_mode, "_PING_SECONDS", 0.2)
    monkeypatch.setattr(socket_mode, "WATCH_SECONDS", 0.1)


NO_FILES = FileStore(Redis())  # no test here shows one
SHARED: list[SharedState] = []
LOOKUPS: list[Lookup] = []
"""What the processes of the bot know together, of the test at hand."""


@pytest.fixture(autouse=True)
async def shared(redis: Redis) -> AsyncIterator[SharedState]:
    SHARED.append(SharedState(redis, "one"))
    LOOKUPS.append(Lookup(redis))
    yield SHARED[0]
    SHARED.clear()
    LOOKUPS.clear()


@pytest.fixture
async def server() -> AsyncIterator[Slack]:
    async with Slack(ack_timeout=0.5, redelivery_delays=(0.0, 0.1, 0.1)) as slack:
        yield slack
        assert not slack.violations
        assert not slack.unfinished()


Answer = Callable[[Message], AsyncIterator[Part]]


async def echo(message: Message) -> AsyncIterator[Part]:
    for word in f"You said: {message.text}".split(" "):
        yield Text(word + " ")


@dataclass
class Bot:
    """The platform with the least that makes it a bot: messages are kept, each is answered once."""

    platform: SlackPlatform
    answer: Answer
    group: asyncio.TaskGroup
    messages: list[Message] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    kept: dict[str, dict[str, Json]] = field(default_factory=dict)
    failures: int = 0
    doors_open: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, event: Event) -> None:
        await self.doors_open.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the store is away")
        if not isinstance(event, Message):
            self.events.append(event)
            return
        message = event
        self.messages.append(message)
        if message.addressed and [each.id for each in self.messages].count(message.id) == 1:
            self.group.create_task(self.reply(message))

    async def reply(self, message: Message, answer: Answer | None = None, attempt: int = 1) -> None:
        """Answer as the inbox would: with the receipt that an earlier attempt left."""

        async def keep(state: Mapping[str, Json]) -> None:
            self.kept[message.id] = dict(state)

        turn = Turn(id=f"turn-{message.id}", thread=message.thread, messages=(message,), attempt=attempt)
        receipt = Receipt(turn, keep, dict(self.kept.get(message.id, {})))
        parts = (answer or self.answer)(message)
        await self.platform.thread(message.thread).reply(parts, receipt)

    async def received(self, count: int = 1) -> Message:
        await wait_until(lambda: len({each.id for each in self.messages}) >= count, f"{count} messages")
        return self.messages[-1]


async def healthy() -> list[Health]:
    return [Health(name="redis", state="ok", evidence={"ping_ms": 1})]


@contextlib.asynccontextmanager
async def connected(
    server: Slack, *, examine: Any = healthy, usage: Any = None, **settings: str | None
) -> AsyncIterator[SlackPlatform]:
    arguments: dict[str, Any] = {
        "bot_token": server.bot_token,
        "app_token": server.app_token,
        "signing_secret": None,
        "api_url": server.api_url,
    }
    commands = Commands(examine, nothing_to_stop, usage=usage, is_admin=lambda by: by == f"slack:{ALICE}")
    arguments |= {"shared": SHARED[0], "lookup": LOOKUPS[0], "files": NO_FILES, "catch_up_hours": 24}
    async with connect(**arguments | settings, commands=commands) as platform:
        yield platform


@contextlib.asynccontextmanager
async def serving(
    server: Slack,
    answer: Answer = echo,
    *,
    examine: Any = healthy,
    usage: Any = None,
    **settings: str | None,
) -> AsyncIterator[Bot]:
    """A bot that listens for as long as the context lasts."""
    async with (
        connected(server, examine=examine, usage=usage, **settings) as platform,
        asyncio.TaskGroup() as group,
    ):
        bot = Bot(platform, answer, group)
        bot.doors_open.set()
        receiving = asyncio.create_task(platform.receive(bot.deliver))
        try:
            if platform.endpoint is None:
                await server.connected(2)
                # the client knows a moment later; asked like this, since health() would use up its probe
                await wait_until(lambda: hears_on_both(platform), "the client knows of its sockets")
            yield bot
        finally:
            receiving.cancel()
            await asyncio.wait([receiving])


async def hears_on_both(platform: Any) -> bool:
    return bool(await platform._connected() == 2)


def gated(*parts: Part | Callable[[], Any]) -> Answer:
    """An answer of `parts`; a callable among them is awaited in its place."""

    async def answer(message: Message) -> AsyncIterator[Part]:
        for part in parts:
            if callable(part):
                await part()
            else:
                yield part

    return answer


async def a_message(bot: Bot, server: Slack, channel: str = GENERAL, text: str = "hello") -> Message:
    """A message that the bot has taken but does not answer by itself."""
    bot.answer = gated()
    await server.say(ALICE, channel, f"{server.mention} {text}")
    message = await bot.received()
    await server.settled()
    await wait_until(lambda: bool(bot.kept) and not server.unfinished(), "answered")
    bot.kept.clear()
    return message


def own(server: Slack, message: Message) -> list[Shown]:
    return server.replies(message.thread.channel, message.thread.thread)


# --- messages come in


async def test_a_mention_is_answered_in_its_thread_with_a_stream(server: Slack) -> None:
    async with serving(server) as bot:
        ts = await server.say(ALICE, GENERAL, f"{server.mention} how are you?")
        assert await server.answer(GENERAL, ts, until=lambda text: "you?" in text) == (
            "You said: how are you? "
        )
    assert [each.status for each in server.workspace.session_statuses] == ["processing", "active"]
    assert not server.statuses
    [reply] = server.replies(GENERAL, ts)
    assert [reply.history[0].action, reply.history[-1].action] == ["start", "stop"]
    assert reply.recipient == ALICE
    assert reply.metadata == {
        "event_type": "bot_turn",
        "event_payload": {"turn": f"turn-{bot.messages[0].id}"},
    }


async def test_both_events_of_a_mention_and_every_copy_are_one_message(server: Slack) -> None:
    async with serving(server) as bot:
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello", copies=2)
        await server.answer(GENERAL, ts)
        await server.settled()
        assert len(bot.messages) == 4
        assert len({message.id for message in bot.messages}) == 1
        assert all(delivery.acked for delivery in server.deliveries)


async def test_a_direct_message_is_answered(server: Slack) -> None:
    async with serving(server):
        direct = server.dm(ALICE)
        ts = await server.say(ALICE, direct, "hello")
        assert await server.answer(direct, ts) == "You said: hello "


async def test_a_later_message_of_a_thread_is_handed_over_without_a_mention(server: Slack) -> None:
    async with serving(server) as bot:
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        await server.answer(GENERAL, ts)
        await server.say(BOB, GENERAL, "and now?", ts)
        message = await bot.received(2)
        assert not message.addressed
        assert message.thread == bot.messages[0].thread


async def test_what_is_not_for_the_bot_is_acknowledged_all_the_same(server: Slack) -> None:
    server.courier.ack_timeout = 60
    async with serving(server) as bot:
        ts = await server.say(ALICE, GENERAL, "lunch?")
        server.edit(GENERAL, ts, "dinner?")
        server.send_event({"type": "reaction_added", "user": ALICE, "event_ts": ts})
        await server.settled()
        assert [len(delivery.attempts) for delivery in server.deliveries] == [1, 1, 1]
        assert bot.messages == []


async def test_slack_is_told_only_after_the_message_is_kept(server: Slack) -> None:
    async with serving(server) as bot:
        bot.doors_open.clear()
        await server.say(ALICE, server.dm(ALICE), "hello")
        await wait_until(lambda: bool(server.deliveries[0].attempts), "it is sent")
        told = [delivery.acked for delivery in server.deliveries]
        bot.doors_open.set()
        await server.settled()
        assert told == [False]
        assert server.deliveries[0].acked
        assert bot.messages


async def test_a_message_that_could_not_be_kept_comes_again(server: Slack) -> None:
    async with serving(server) as bot:
        bot.failures = 1
        ts = await server.say(ALICE, server.dm(ALICE), "hello")
        await wait_until(lambda: not bot.failures, "it could not be kept")
        server.courier.ack_timeout = 60  # for the next attempts
        assert await server.answer(server.dm(ALICE), ts) == "You said: hello "
        await server.settled()
        [delivery] = server.events("message")[:1]
        assert [attempt.failure for attempt in delivery.attempts] == ["timeout", None]


async def test_a_message_is_kept_and_acknowledged_while_the_web_api_is_limited(server: Slack) -> None:
    """Bolt's own order would call auth.test first, fail, acknowledge and drop the event."""
    async with serving(server, gated()) as bot:
        server.fail("auth.test", error="ratelimited", times=99)
        await server.say(ALICE, server.dm(ALICE), "hello")
        await server.settled()
        assert bot.messages
        assert server.count("auth.test") == 1


# --- sockets


async def test_nothing_is_lost_while_slack_replaces_a_socket(server: Slack) -> None:
    server.courier.ack_timeout = 60
    async with serving(server) as bot:
        await server.disconnect(every=False)
        await server.say(ALICE, server.dm(ALICE), "hello")
        await bot.received()
        await server.connected(2)
        await server.settled()
        assert len(server.events("message")[0].attempts) == 1


async def test_sockets_that_break_are_opened_again(server: Slack) -> None:
    async with serving(server) as bot:
        server.drop_sockets()
        await wait_until(lambda: not server.sockets, "the sockets are gone")
        await server.connected(2)
        await server.say(ALICE, server.dm(ALICE), "hello")
        await bot.received()


async def test_a_socket_that_tries_an_expired_address_gets_a_new_one(server: Slack) -> None:
    async with serving(server):
        server.socket_mode.ticket_lifetime = -1
        server.drop_sockets()
        await wait_until(lambda: server.socket_mode.refused_handshakes > 2, "the address is refused")
        server.socket_mode.ticket_lifetime = 30
        await server.connected(2)


async def test_when_no_socket_comes_back_all_is_built_anew(
    server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_mode, "DEAD_AFTER", 0.3)
    async with connected(server) as platform:
        bot = Bot(platform, echo, asyncio.TaskGroup())
        receiving = asyncio.create_task(platform.receive(bot.deliver))
        await server.connected(2)
        server.socket_mode.closed_to_all = True
        server.drop_sockets()
        with pytest.raises(Unreachable, match="no socket"):
            await receiving
        assert (await platform.health()).state == "down"
        server.socket_mode.closed_to_all = False
        receiving = asyncio.create_task(platform.receive(bot.deliver))
        await server.connected(2)
        receiving.cancel()
        await asyncio.wait([receiving])


async def test_nothing_of_a_connection_is_left_when_it_ends(server: Slack) -> None:
    async with serving(server):
        await server.disconnect()
        await server.connected(2)
    left = [repr(task.get_coro()) for task in asyncio.all_tasks()]
    assert not [task for task in left if "SocketModeClient" in task or "slack_sdk" in task]
    await wait_until(lambda: not server.sockets, "every socket is closed")


# --- credentials


@pytest.mark.parametrize(
    ("setting", "token", "variable"),
    [
        ("bot_token", "xoxb-wrong", "SLACK_BOT_TOKEN"),
        ("app_token", "xapp-wrong", "SLACK_APP_TOKEN"),
    ],
)
async def test_a_wrong_token_is_named_in_one_line(
    server: Slack, setting: str, token: str, variable: str
) -> None:
    async with connected(server, **{setting: token}) as platform:
        with pytest.raises(CredentialsRejected, match=rf"{variable} at .*invalid_auth") as caught:
            await platform.receive(Bot(platform, echo, asyncio.TaskGroup()).deliver)
    assert "\n" not in str(caught.value)
    assert token not in str(caught.value)
    server.violations.clear()  # the wrong token


@pytest.mark.parametrize("outage", ["unreachable", "broken"])
async def test_a_slack_that_is_away_is_unreachable(server: Slack, outage: Any) -> None:
    server.outage = outage
    async with connected(server) as platform:
        with pytest.raises(Unreachable, match=r"auth\.test"):
            await platform.receive(Bot(platform, echo, asyncio.TaskGroup()).deliver)


async def test_slack_needs_a_way_to_tell_who_is_calling(server: Slack) -> None:
    """Without a secret anyone could post signed events to the endpoint."""
    with pytest.raises(ValueError, match="signing secret"):
        async with connected(server, app_token=None, signing_secret=""):
            pass


# --- HTTP mode


@contextlib.asynccontextmanager
async def mounted(platform: SlackPlatform) -> AsyncIterator[str]:
    app = web.Application()
    assert platform.endpoint
    app.router.add_post("/slack/events", platform.endpoint)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    finally:
        await runner.cleanup()


async def test_without_an_app_token_signed_requests_are_served(server: Slack) -> None:
    async with (
        serving(server, app_token=None, signing_secret=server.signing_secret) as bot,
        mounted(bot.platform) as server.request_url,
    ):
        assert await server.verify_url()
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        assert await server.answer(GENERAL, ts) == "You said: hello "
        bot.failures = 1
        await server.say(ALICE, server.dm(ALICE), "again")
        await bot.received(2)
        await server.settled()
        again = next(each for each in server.events("message") if each.event.get("text") == "again")
        assert [attempt.failure for attempt in again.attempts] == ["http_error", None]
        assert (await bot.platform.health()).state == "ok"
        command = await server.command("/agent-health", "", ALICE, GENERAL)
        assert command.acked


async def test_a_request_that_slack_did_not_sign_is_refused(server: Slack) -> None:
    async with (
        serving(server, app_token=None, signing_secret="another secret") as bot,
        mounted(bot.platform) as server.request_url,
    ):
        await server.say(ALICE, GENERAL, f"{server.mention} hello")
        await server.settled()
        assert not any(delivery.acked for delivery in server.deliveries)
        assert bot.messages == []


async def test_before_it_receives_the_endpoint_asks_to_come_again(server: Slack) -> None:
    async with (
        connected(server, app_token=None, signing_secret=server.signing_secret) as platform,
        mounted(platform) as url,
        aiohttp.ClientSession() as session,
        session.post(url, json={}) as response,
    ):
        assert response.status == 503
        assert (await platform.health()).state == "down"


async def test_sockets_need_no_endpoint(server: Slack) -> None:
    async with connected(server) as platform:
        assert platform.endpoint is None


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
    server: Slack, body: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """And leaves no trace in the log, except that of our own parser, which may be the one at fault."""
    now = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": now,
        "X-Slack-Signature": signature(server.signing_secret, now, body),
    }
    async with (
        serving(server, app_token=None, signing_secret=server.signing_secret) as bot,
        mounted(bot.platform) as url,
        aiohttp.ClientSession() as session,
    ):
        await wait_until(lambda: server.count("auth.test") == 1, "it receives")
        async with session.post(url, data=body, headers=headers) as response:
            assert response.status == status
        assert bot.messages == []
    assert not [each for each in caplog.records if each.exc_info and each.name != "bot.slack.platform"]


@pytest.mark.parametrize(
    "payload",
    ["", "[]", "{", "5", "[" * 50_000, '{"user":' * 20_000, '{"type": "block_actions", "user": 5}', "null"],
    ids=lambda payload: payload[:20],
)
async def test_a_signed_form_that_cannot_be_read_is_no_error_of_ours(
    server: Slack, payload: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The form that commands and presses come in, with a payload of another shape."""
    body, now = urlencode({"payload": payload}).encode(), str(int(time.time()))
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": now,
        "X-Slack-Signature": signature(server.signing_secret, now, body),
    }
    async with (
        serving(server, app_token=None, signing_secret=server.signing_secret) as bot,
        mounted(bot.platform) as url,
        aiohttp.ClientSession() as session,
    ):
        await wait_until(lambda: server.count("auth.test") == 1, "it receives")
        async with session.post(url, data=body, headers=headers) as response:
            assert response.status < 500
        assert bot.messages == []
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
    server: Slack, headers: dict[str, str], body: bytes
) -> None:
    async with (
        serving(server, app_token=None, signing_secret=server.signing_secret) as bot,
        mounted(bot.platform) as url,
        aiohttp.ClientSession() as session,
    ):
        await wait_until(lambda: server.count("auth.test") == 1, "it receives")
        async with session.post(url, data=body, headers=headers) as response:
            assert response.status == 401


# --- commands and health


async def test_the_health_command_answers_only_the_caller(server: Slack) -> None:
    async with serving(server):
        command = await server.command("/agent-health", "", ALICE, GENERAL)
        assert command.acked
        [shown] = server.ephemerals
        assert (shown.user, shown.text) == (ALICE, "• 🟢 *redis* ok: ping ms 1")


async def test_a_slow_examination_is_answered_after_the_acknowledgement(
    server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_responses, "ACK_SECONDS", 0.05)
    finish = asyncio.Event()

    async def slowly() -> list[Health]:
        await finish.wait()
        return await healthy()

    async with serving(server, examine=slowly):
        command = await server.command("/agent-health", "", ALICE, GENERAL)
        assert command.acked
        assert command.response is None
        finish.set()
        await wait_until(lambda: len(server.ephemerals) == 1, "the answer")
        assert "redis" in server.ephemerals[0].text


@pytest.mark.parametrize("is_gone", [True, False])
async def test_the_address_of_an_answer_stays_out_of_the_log(
    server: Slack, caplog: pytest.LogCaptureFixture, is_gone: bool
) -> None:
    """Fault: whoever read it there could answer in the bot's name for half an hour."""
    url = f"{server.url}/response/0123456789abcdef" if is_gone else "http://127.0.0.1:1/0123456789abcdef"
    async with aiohttp.ClientSession() as session:
        await follow_up(session, url, "hello")
    [record] = [each for each in caplog.records if each.name == "bot.slack.responses"]
    assert record.__dict__["status"] == (404 if is_gone else None)
    assert "0123456789abcdef" not in str(record.__dict__)
    server.violations.clear()


async def test_a_command_that_needs_a_store_which_is_down_gets_a_sentence(server: Slack) -> None:
    async def down(by: str, of_all: bool) -> str:
        raise StorageDown("Redis did not answer")

    async with serving(server, usage=down):
        await server.command("/agent-usage", "", ALICE, GENERAL)
        assert (
            server.ephemerals[0].text
            == "I cannot reach Redis right now, so I have no answer. Please try again in a minute."
        )


async def test_an_unknown_command_gets_a_sentence(server: Slack) -> None:
    async with serving(server):
        await server.command("/agent-dance", "", ALICE, GENERAL)
        assert (
            server.ephemerals[0].text
            == "I do not know the command /agent-dance. You can use: /agent-health, /agent-stop, /agent-usage"
        )


async def test_health_tells_the_sockets_and_the_last_event(
    server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_health, "PROBE_SECONDS", 30)  # however busy the machine is
    began = time.monotonic()
    async with serving(server, gated()) as bot:
        health = await bot.platform.health()
        assert (health.name, health.state) == ("slack", "ok")
        assert 0 < health.evidence["probe_ms"] <= (time.monotonic() - began) * 1000 + 1
        assert health.evidence == {
            "mode": "socket",
            "connected_sockets": 2,
            "probe_ms": health.evidence["probe_ms"],
            "last_probe_s": health.evidence["last_probe_s"],
            "no_event_yet": True,
            "workspace": "Test",
            "bot_user": server.bot_user,
        }
        await server.say(ALICE, GENERAL, "lunch?")
        await server.settled()
        last_event_s = (await bot.platform.health()).evidence["last_event_s"]
        assert 0 <= last_event_s <= time.monotonic() - began + 0.1
        server.socket_mode.closed_to_all = True
        server.sockets[0].drop()

        async def degraded() -> bool:
            return (await bot.platform.health()).state == "degraded"

        await wait_until(degraded, "one socket is missed")
    assert (await bot.platform.health()).state == "down"


async def test_health_tells_that_slack_rejects_the_token(
    server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform_health, "FRESH_SECONDS", -1)
    async with serving(server, gated()) as bot:
        assert (await bot.platform.health()).state == "ok"
        server.revoke(server.bot_token)
        health = await bot.platform.health()
    assert health.state == "down"
    assert "SLACK_BOT_TOKEN" in health.evidence["error"]


async def test_health_asks_slack_once_a_minute(server: Slack) -> None:
    async with serving(server, gated()) as bot:
        await asyncio.gather(*(bot.platform.health() for _ in range(5)))
        await bot.platform.health()
    assert server.count("auth.test") == 2, "one to connect, one for all of these"


async def test_health_waits_for_slack_only_so_long(server: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_health, "PROBE_SECONDS", 0.05)
    async with serving(server, gated()) as bot:
        server.slow("auth.test", 1.0, times=99)
        health = await bot.platform.health()
        assert health.state == "degraded"
        assert "no answer" in health.evidence["error"]


# --- replies


async def test_the_first_words_are_shown_at_once_and_the_rest_at_a_pace(server: Slack) -> None:
    go_on = asyncio.Event()
    words = [Text(f"word{number} ") for number in range(200)]
    async with serving(server) as bot:
        bot.answer = gated(Text("First "), go_on.wait, *words, Text("last"))
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        await wait_until(lambda: bool(server.replies(GENERAL, ts)), "a stream")
        assert server.replies(GENERAL, ts)[0].shown == "First "
        go_on.set()
        text = await server.answer(GENERAL, ts)
    assert text == "First " + "".join(word.text for word in words) + "last"
    assert server.count("chat.appendStream") <= 1
    assert server.count("chat.startStream") == server.count("chat.stopStream") == 1


async def test_tool_steps_are_cards_between_the_words(server: Slack) -> None:
    go_on = asyncio.Event()
    title = "Look at <!channel> " + "x" * 300
    async with serving(server) as bot:
        bot.answer = gated(
            ToolStep(id="call_1", name="sql_query", state="started", title=title),
            go_on.wait,
            ToolStep(id="call_1", name="sql_query", state="finished", title=title, output="42 rows"),
            ToolStep(id="call_2", name="chart", state="failed", title="", output="no data"),
            Text("There are 42."),
        )
        ts = await server.say(ALICE, GENERAL, f"{server.mention} count")
        await wait_until(lambda: bool(server.replies(GENERAL, ts)), "a stream")
        [reply] = server.replies(GENERAL, ts)
        assert reply.tasks["call_1"]["status"] == "in_progress"
        go_on.set()
        await server.answer(GENERAL, ts)
    assert reply.tasks["call_1"]["status"] == "complete"
    assert reply.tasks["call_1"]["output"] == "42 rows"
    assert reply.tasks["call_1"]["title"].endswith("…")
    assert "<!channel>" not in reply.tasks["call_1"]["title"]
    assert (reply.tasks["call_2"]["status"], reply.tasks["call_2"]["title"]) == ("error", "chart")
    assert reply.text == "There are 42."


async def test_a_notice_is_a_paragraph(server: Slack) -> None:
    async with serving(server, gated(Text("So far"), Notice("Time is up."))):
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        assert (await server.answer(GENERAL, ts)).strip() == "So far\n\nTime is up."


async def test_an_answer_without_parts_shows_nothing(server: Slack) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        assert own(server, message) == []
        assert [each.status for each in server.workspace.session_statuses][-2:] == ["processing", "active"]


async def test_text_from_a_model_pings_nobody(server: Slack) -> None:
    async with serving(server, gated(Text("Hey <!chan"), Text("nel> and <@U0"), Text("BOB>!"))):
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        assert await server.answer(GENERAL, ts) == "Hey <\u200b!channel> and <\u200b@U0BOB>!"


async def test_a_long_answer_goes_on_in_further_messages(server: Slack) -> None:
    text = "".join(f"This is line {number}.\n" for number in range(2000))
    async with serving(server, gated(*(Text(text[at : at + 700]) for at in range(0, len(text), 700)))) as bot:
        ts = await server.say(ALICE, GENERAL, f"{server.mention} talk")
        await server.answer(GENERAL, ts, until=lambda shown: "line 1999." in shown)
        replies = server.replies(GENERAL, ts)
        await wait_until(lambda: bot.kept[bot.messages[0].id].get("finished") is True, "the end")
    assert len(replies) == 4
    assert "".join(reply.text for reply in replies) == text
    assert all(reply.metadata for reply in replies)


async def test_a_stream_that_grows_old_goes_on_in_a_new_message(
    server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STREAM_SECONDS", 0.0)
    seen: list[int] = []

    async def shown() -> None:
        count = len(seen) + 1
        await wait_until(lambda: server.count("chat.startStream") >= count, f"{count} streams")
        seen.append(count)

    async with serving(server) as bot:
        bot.answer = gated(Text("```\none\nx = "), shown, Text("1\ntwo\n```\nthree "), shown, Text("four "))
        ts = await server.say(ALICE, GENERAL, f"{server.mention} talk")
        await server.answer(GENERAL, ts, until=lambda text: "four" in text)
    assert [reply.text for reply in server.replies(GENERAL, ts)] == [
        "```\none\nx = 1\n```",
        "```\ntwo\n```\nthree ",
        "four ",
    ]


async def test_a_stream_that_slack_ended_is_brought_to_its_full_text(server: Slack) -> None:
    async with serving(server) as bot:

        async def ended() -> None:
            await wait_until(lambda: bool(server.replies(GENERAL, ts)), "a stream")
            server.end_stream(GENERAL, server.replies(GENERAL, ts)[0].ts)

        bot.answer = gated(Text("One two "), ended, Text("three four."))
        ts = await server.say(ALICE, GENERAL, f"{server.mention} talk")
        assert await server.answer(GENERAL, ts, until=lambda text: "four" in text) == "One two three four."
    [reply] = server.replies(GENERAL, ts)
    assert reply.history[-1].action == "update"
    assert reply.metadata


async def test_an_answer_that_slack_interrupts_goes_on_in_a_new_message(server: Slack) -> None:
    async with serving(server) as bot:

        async def ended() -> None:
            await wait_until(lambda: bool(server.replies(GENERAL, ts)), "a stream")
            server.end_stream(GENERAL, server.replies(GENERAL, ts)[0].ts)

        async def mended() -> None:
            await wait_until(lambda: server.count("chat.update") == 1, "the message is edited")

        bot.answer = gated(Text("One two "), ended, Text("three " * 60), mended, Text("four."))
        ts = await server.say(ALICE, GENERAL, f"{server.mention} talk")
        await server.answer(GENERAL, ts, until=lambda text: "four" in text)
    assert [reply.text for reply in server.replies(GENERAL, ts)] == ["One two " + "three " * 60, "four."]


async def test_a_card_that_came_too_late_for_its_stream_is_shown_in_a_new_one(server: Slack) -> None:
    server.tolerate("unfinished")  # no call reaches a card whose stream Slack has ended
    step = ToolStep(id="c1", name="sql", state="started", title="Count")

    async with serving(server) as bot:

        async def ended() -> None:
            await wait_until(lambda: bool(server.replies(GENERAL, ts)), "a stream")
            server.end_stream(GENERAL, server.replies(GENERAL, ts)[0].ts)

        async def carried_over() -> None:
            await wait_until(lambda: len(server.replies(GENERAL, ts)) == 2, "a second stream")

        done = ToolStep(id="c1", name="sql", state="finished", title="Count", output="42")
        bot.answer = gated(step, ended, done, carried_over, Text("There are 42."))
        ts = await server.say(ALICE, GENERAL, f"{server.mention} count")
        await server.answer(GENERAL, ts, until=lambda text: "42." in text)
    assert server.replies(GENERAL, ts)[1].tasks["c1"]["status"] == "complete"


async def test_a_limited_append_is_repeated_and_nothing_is_lost(server: Slack) -> None:
    async with serving(server) as bot:
        fault = server.fail("chat.appendStream", status=429, retry_after=1)

        async def started() -> None:
            await wait_until(lambda: server.count("chat.startStream") == 1, "a stream")

        async def met() -> None:
            await wait_until(lambda: fault.hits == 1, "the limit is met")

        bot.answer = gated(Text("One "), started, Text("two " * 100), met, Text("three"))
        ts = await server.say(ALICE, GENERAL, f"{server.mention} talk")
        await server.answer(GENERAL, ts, until=lambda text: "three" in text)
    [reply] = server.replies(GENERAL, ts)
    assert reply.text == "One " + "two " * 100 + "three"


async def test_a_group_direct_message_is_answered_with_a_posted_message(server: Slack) -> None:
    group = server.add_channel("G0GROUP", "mpim")
    async with serving(server):
        ts = await server.say(ALICE, group, f"{server.mention} hello", mention_last=True)
        assert await server.answer(group, ts) == "You said: hello "
    assert server.count("chat.startStream") == 0


async def test_where_slack_refuses_a_stream_the_answer_is_posted(server: Slack) -> None:
    server.tolerate("channel_type_not_supported")
    group = server.add_channel("G0GROUP", "mpim")
    async with serving(server):
        ts = await server.say(ALICE, group, f"{server.mention} hello")  # app_mention names no kind
        assert await server.answer(group, ts) == "You said: hello "
    assert server.count("chat.startStream") == 1


async def test_an_answer_of_steps_only_is_posted_as_a_list(server: Slack) -> None:
    group = server.add_channel("G0GROUP", "mpim")
    async with serving(server, gated(ToolStep(id="1", name="sql", state="finished", title="Count"))):
        ts = await server.say(ALICE, group, f"{server.mention} count", mention_last=True)
        assert await server.answer(group, ts) == "- Count"


# --- replies that fail, and those that are continued


async def test_when_the_answer_fails_its_stream_is_ended_and_the_error_passes(server: Slack) -> None:
    async def answer(message: Message) -> AsyncIterator[Part]:
        yield Text("So far ")
        await wait_until(lambda: server.count("chat.startStream") == 1, "a stream")
        raise AnswerError("no model")

    async with serving(server) as bot:
        message = await a_message(bot, server)
        with pytest.raises(AnswerError, match="no model"):
            await bot.reply(message, answer)
        [reply] = own(server, message)
        assert (reply.text, reply.streaming_state) == ("So far ", "completed")
        assert server.status(GENERAL, message.thread.thread) == ""


async def test_without_the_lease_nothing_more_is_written(server: Slack) -> None:
    server.tolerate("unfinished")  # whoever has the lease ends it

    async def answer(message: Message) -> AsyncIterator[Part]:
        yield Text("So far ")
        await wait_until(lambda: server.count("chat.startStream") == 1, "a stream")
        calls.append(len(server.calls))
        raise LeaseLost

    calls: list[int] = []
    async with serving(server) as bot:
        message = await a_message(bot, server)
        with pytest.raises(LeaseLost):
            await bot.reply(message, answer)
        assert len(server.calls) == calls[0]


@pytest.mark.parametrize("after_applying", [True, False])
async def test_a_reply_is_continued_in_the_same_message(server: Slack, after_applying: bool) -> None:
    """The first attempt ends without knowing whether its last append was taken; both must do."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.fail("chat.appendStream", status=500, after_applying=after_applying)
        answer = gated(Text("One "), Text("two " * 100), Text("three."))
        slow_answer = gated(
            Text("One "),
            lambda: wait_until(lambda: server.count("chat.startStream") == 1, "a stream"),
            Text("two " * 100),
            lambda: wait_until(lambda: server.count("chat.appendStream") == 1, "an append"),
            Text("three."),
        )
        with pytest.raises(Unreachable, match=r"chat\.appendStream"):
            await bot.reply(message, slow_answer)
        await bot.reply(message, answer)
        [reply] = own(server, message)
        assert reply.text == "One " + "two " * 100 + "three."
        assert reply.streaming_state == "completed"
        calls = len(server.calls)
        await bot.reply(message, answer)
        again = [call.method for call in server.calls[calls:]]
        assert again == ["agents.sessions.setStatus"], "a finished reply is left alone"


async def test_a_continued_reply_posts_what_does_not_fit_its_last_message(server: Slack) -> None:
    text = "".join(f"This is line {number}.\n" for number in range(1500))
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.fail("chat.appendStream", status=500)
        waiting = gated(
            Text(text[:100]),
            lambda: wait_until(lambda: server.count("chat.startStream") == 1, "a stream"),
            Text(text[100:]),
        )
        server.fail("chat.stopStream", status=500)
        with pytest.raises(Unreachable):
            await bot.reply(message, waiting)
        await bot.reply(message, gated(Text(text)))
        replies = own(server, message)
        assert "".join(reply.text for reply in replies) == text
        assert len(replies) == 3


async def test_a_reply_that_died_while_posting_goes_on_after_what_is_posted(server: Slack) -> None:
    text = "".join(f"This is line {number}.\n" for number in range(1500))
    group = server.add_channel("G0GROUP", "mpim")
    async with serving(server, gated()) as bot:
        await server.say(ALICE, group, f"{server.mention} hello", mention_last=True)
        message = await bot.received()
        await wait_until(lambda: bool(bot.kept), "answered")
        bot.kept.clear()
        group_message = next(each for each in bot.messages if each.place["channel_kind"] == "mpim")
        posts = 0

        async def keep(state: Mapping[str, Json]) -> None:
            nonlocal posts
            posts += 1
            bot.kept[message.id] = dict(state)
            if posts == 2:
                raise LeaseLost

        turn = Turn(id="t", thread=message.thread, messages=(group_message,))
        with pytest.raises(LeaseLost):
            await bot.platform.thread(message.thread).reply(gated(Text(text))(message), Receipt(turn, keep))
        await bot.reply(group_message, gated(Text(text)))
        assert "".join(reply.text for reply in own(server, message)) == text


LONG = "".join(f"This is line {number} of the first answer.\n" for number in range(900))
OTHER = "".join(f"Here stands line {number} of another answer.\n" for number in range(500))


async def killed(server: Slack, bot: Bot, message: Message, text: str, streams: int) -> None:
    """An attempt that ends, as with kill -9, without a word after its last stream has begun."""

    async def answer(message: Message) -> AsyncIterator[Part]:
        yield Text(text)
        await wait_until(lambda: server.count("chat.startStream") == streams, f"{streams} streams")
        await wait_until(lambda: len(bot.kept[message.id]["pages"]) == streams, "it is in the receipt")
        raise LeaseLost

    with pytest.raises(LeaseLost):
        await bot.reply(message, answer)


@pytest.mark.parametrize("text", ["A short one.", OTHER, LONG, LONG + OTHER])
async def test_after_a_crash_only_the_second_answer_is_shown(server: Slack, text: str) -> None:
    """The model may answer otherwise: no page of the first answer may stay, nor be glued to the second."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await killed(server, bot, message, LONG, 4)
        await bot.reply(message, gated(Text(text)))
        assert "".join(reply.text for reply in own(server, message)) == text
        assert all(reply.streaming_state != "in_progress" for reply in own(server, message))


async def test_after_a_crash_messages_that_are_right_are_left_alone(server: Slack) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await killed(server, bot, message, LONG, 4)
        await bot.reply(message, gated(Text(LONG)))
        assert [reply.history[-1].action for reply in own(server, message)] == [
            "stop",
            "stop",
            "stop",
            "update",
        ]


async def test_after_a_crash_on_its_only_page_a_shorter_answer_replaces_it(server: Slack) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await killed(server, bot, message, "One two three four ", 1)
        await bot.reply(message, gated(Text("One.")))
        assert [reply.text for reply in own(server, message)] == ["One."]


@pytest.mark.parametrize(
    ("method", "text", "after_applying"),
    [
        ("chat.update", OTHER, True),
        ("chat.update", OTHER, False),
        ("chat.delete", "short", True),
        ("chat.delete", "short", False),
        ("chat.postMessage", LONG + OTHER, False),
    ],
)
async def test_a_correction_that_dies_is_done_again(
    server: Slack, method: str, text: str, after_applying: bool
) -> None:
    """Even if the next attempt wants back what the first one showed."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await killed(server, bot, message, LONG, 4)
        server.fail(method, status=500, after_applying=after_applying)
        with pytest.raises(Unreachable):
            await bot.reply(message, gated(Text(text)))
        server.tolerate("message_not_found")  # it may have been deleted
        await bot.reply(message, gated(Text(LONG)))
        shown = [reply.text for reply in own(server, message)]
        assert sorted("".join(shown).splitlines()) == sorted(LONG.splitlines())


async def test_a_message_that_cannot_be_edited_is_replaced(server: Slack) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await killed(server, bot, message, LONG, 4)
        server.fail("chat.update", error="edit_window_closed", times=2)
        await bot.reply(message, gated(Text(OTHER)))
        assert "".join(reply.text for reply in own(server, message)) == OTHER


REFUSALS = ["msg_too_long", "message_not_found", "invalid_chunks", "restricted_action"]


@pytest.mark.parametrize("error", REFUSALS)
@pytest.mark.parametrize("method", ["chat.appendStream", "chat.stopStream"])
async def test_a_stream_that_is_refused_midway_is_shown_in_full_otherwise(
    server: Slack, method: str, error: str
) -> None:
    server.fail(method, error=error)
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await bot.reply(
            message,
            gated(
                ToolStep(id="1", name="sql", state="started", title="Count"),
                lambda: wait_until(lambda: server.count("chat.startStream") == 1, "a stream"),
                Text("One " * 100),
                lambda: wait_until(
                    lambda: method == "chat.stopStream" or server.count(method) == 1, "the refusal"
                ),
                ToolStep(id="1", name="sql", state="finished", title="Count"),
                Text("two."),
            ),
        )
        [reply] = own(server, message)
        assert (reply.text, reply.streaming_state) == ("One " * 100 + "two.", "completed")
        assert bot.kept[message.id]["finished"] is True


async def test_a_correction_that_is_refused_is_shown_otherwise(server: Slack) -> None:
    server.fail("chat.update", error="msg_too_long", times=2)
    async with serving(server) as bot:
        message = await a_message(bot, server)

        async def ended() -> None:
            await wait_until(lambda: bool(own(server, message)), "a stream")
            server.end_stream(GENERAL, own(server, message)[0].ts)

        await bot.reply(message, gated(Text("One two "), ended, Text("three.")))
        assert [reply.text for reply in own(server, message)] == ["One two three."]


async def test_a_person_stops_the_answer_and_that_is_its_end(server: Slack) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)

        async def stopped() -> None:
            await wait_until(lambda: bool(own(server, message)), "a stream")
            server.stop(ALICE, GENERAL, message.thread.thread)

        never = asyncio.Event()
        await bot.reply(message, gated(Text("One two "), stopped, Text("three " * 60), never.wait))
        await bot.reply(message, gated(Text("again")))
        assert [reply.text for reply in own(server, message)] == ["One two "]
        assert server.status(GENERAL, message.thread.thread) == ""


@pytest.mark.parametrize("failure", [Unreachable("x"), StorageDown("x"), RuntimeError("x")])
async def test_whatever_ends_an_attempt_its_stream_and_cards_are_ended(
    server: Slack, failure: Exception
) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        saves = 0

        async def keep(state: Mapping[str, Json]) -> None:
            nonlocal saves
            saves += 1
            if saves == 3:  # after the two of the stream's opening
                raise failure

        answer = gated(
            ToolStep(id="1", name="sql", state="started", title="Count"),
            lambda: wait_until(lambda: server.count("chat.startStream") == 1, "a stream"),
            Text("two " * 100),
            asyncio.Event().wait,
        )
        turn = Turn(id="t", thread=message.thread, messages=(message,))
        with pytest.raises(type(failure)):
            await bot.platform.thread(message.thread).reply(answer(message), Receipt(turn, keep))
        [reply] = own(server, message)
        assert reply.streaming_state == "completed"
        assert reply.tasks["1"]["status"] == "error"
        assert server.status(GENERAL, message.thread.thread) == ""


async def test_a_reply_that_cannot_be_shown_does_not_look_as_if_it_came(server: Slack) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.fail("chat.startStream", error="restricted_action")
        server.fail("chat.postMessage", error="restricted_action", times=9)
        with pytest.raises(Undeliverable):
            await bot.reply(message, gated(Text("hello ")))
        assert server.status(GENERAL, message.thread.thread) == ""


async def test_where_slack_limits_streams_the_answer_is_posted_without_waiting(server: Slack) -> None:
    server.fail("chat.startStream", status=429, retry_after=600)
    async with serving(server):
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        assert await server.answer(GENERAL, ts) == "You said: hello "
    assert server.count("chat.startStream") == 1


async def test_a_long_answer_takes_no_more_streams_than_there_are(
    server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PER_MINUTE, "chat.startStream", 2)
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await bot.reply(message, gated(Text(LONG)))
        assert "".join(reply.text for reply in own(server, message)) == LONG
        assert server.count("chat.startStream") == 2


async def test_a_channel_that_the_bot_was_taken_out_of_is_undeliverable(server: Slack) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.remove_bot(GENERAL)
        with pytest.raises(Undeliverable, match=r"chat\.postMessage: not_in_channel"):
            await bot.reply(message, gated(Text("hello ")))


async def test_a_revoked_token_is_told_as_such(server: Slack) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.revoke(server.bot_token)
        with pytest.raises(CredentialsRejected, match="SLACK_BOT_TOKEN"):
            await bot.reply(message, gated(Text("hello ")))


async def test_where_there_are_no_sessions_a_line_says_that_the_bot_is_at_work(server: Slack) -> None:
    """Slack is asked for a session only once."""
    server.disable("agents.sessions.setStatus")
    async with serving(server) as bot:
        for _ in range(2):
            await server.answer(GENERAL, await server.say(ALICE, GENERAL, f"{server.mention} hello"))
            await wait_until(lambda: not server.unfinished(), "finished")
    assert server.statuses[0].status == THINKING
    assert server.count("agents.sessions.setStatus") == 1
    assert len(bot.messages) == 2 * 2  # as app_mention and as message


async def test_a_status_that_slack_does_not_take_fails_no_turn(server: Slack) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.disable("agents.sessions.setStatus")
        server.disable("assistant.threads.setStatus")
        await bot.reply(message, gated(Text("hello ")))
        assert own(server, message)[0].text == "hello "


async def test_a_session_that_a_crash_left_busy_is_ended_with_its_answer(server: Slack) -> None:
    """The answer was complete, and its receipt says so: all that is missing is the session's end."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await bot.reply(message, gated(Text("hello ")))
        place = message.thread.channel, message.thread.thread
        server.workspace.set_session_status(*place, "processing")
        await bot.reply(message, gated(Text("never asked for ")))
        assert server.workspace.session_status(*place) == "active"
    assert own(server, message)[0].text == "hello "


async def test_a_session_of_an_attempt_that_died_is_ended_by_the_next(
    server: Slack, shared: SharedState
) -> None:
    """Also when that one begins none, since the workspace's calls are used up."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        place = message.thread.channel, message.thread.thread
        server.workspace.set_session_status(*place, "processing")
        while not await RateLimits(shared).delay(message.thread.space, "agents.sessions.setStatus"):
            pass
        await bot.reply(message, gated(Text("hello ")), attempt=2)
        assert server.workspace.session_status(*place) == "active"


async def test_the_stop_button_ends_a_session_in_which_nothing_is_under_way(server: Slack) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        place = message.thread.channel, message.thread.thread
        server.workspace.set_session_status(*place, "processing")
        server.stop(ALICE, *place)
        await wait_until(lambda: server.workspace.session_status(*place) == "active", "the session waits")
    (stop,) = bot.events
    assert isinstance(stop, Stop)
    assert (stop.by, stop.thread) == (f"slack:{ALICE}", message.thread)
    assert stop.at > message.sent_at, "what is asked after it is not meant"


async def test_sessions_leave_room_for_their_ends(server: Slack, shared: SharedState) -> None:
    """Beyond what a workspace is allowed a line of text does, so that no session stays busy."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        while not await RateLimits(shared).delay(message.thread.space, "agents.sessions.setStatus"):
            pass
        before = server.count("agents.sessions.setStatus")
        await bot.reply(message, gated(Text("hello ")))
        assert server.count("agents.sessions.setStatus") == before
    assert server.statuses[0].status == THINKING


# --- the smaller parts


@pytest.mark.parametrize(
    ("status", "body", "kind", "sentence"),
    [
        (429, {"error": "ratelimited"}, RateLimited, "wait 7 s"),
        (200, {"error": "missing_scope", "needed": "chat:write"}, CredentialsRejected, "chat:write"),
        (200, {"error": "account_inactive"}, CredentialsRejected, "SLACK_BOT_TOKEN"),
        (200, {"error": "fatal_error"}, Unreachable, "fatal_error"),
        (503, {}, Unreachable, "status 503"),
        (200, b"<html>", Unreachable, "chat.x"),
        (200, {"error": "is_archived"}, Undeliverable, "chat.x: is_archived"),
    ],
)
def test_slacks_errors_are_translated(
    status: int, body: Any, kind: type[PlatformError], sentence: str
) -> None:
    response = AsyncSlackResponse(
        client=AsyncWebClient(),
        http_verb="POST",
        api_url="",
        req_args={},
        data=body,
        headers={"Retry-After": "7"},
        status_code=status,
    )
    error = SlackApiError("it failed", "")  # type: ignore[no-untyped-call]  # slack-sdk leaves it untyped
    error.response = response
    with pytest.raises(kind, match=sentence) as caught, translate_errors("chat.x", "SLACK_BOT_TOKEN"):
        raise error
    assert caught.value.__cause__ is error
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 2.5 ", 2.5),
        ("9" * 12, 3600),
        *((each, 30) for each in ("1e999", "nan", "inf", "-1", "", None, "9" * 5_000, "\u0667")),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 30),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_wait_that_is_no_number_of_seconds_is_a_usual_one(header: str | None, seconds: float) -> None:
    """Fault: a date, as proxies write it, was no error of Slack's any more; `nan` was waited for for ever."""
    response = AsyncSlackResponse(
        client=AsyncWebClient(),
        http_verb="POST",
        api_url="",
        req_args={},
        data={"error": "ratelimited"},
        headers={} if header is None else {"Retry-After": header},
        status_code=429,
    )
    error = SlackApiError("it failed", "")  # type: ignore[no-untyped-call]  # slack-sdk leaves it untyped
    error.response = response
    with pytest.raises(RateLimited) as caught, translate_errors("chat.x", "SLACK_BOT_TOKEN"):
        raise error
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("error", [TimeoutError(), aiohttp.ServerDisconnectedError(), ConnectionResetError()])
def test_a_connection_that_fails_is_unreachable(error: Exception) -> None:
    with pytest.raises(Unreachable), translate_errors("chat.x", "SLACK_BOT_TOKEN"):
        raise error


async def test_streams_stay_below_what_a_workspace_is_allowed(shared: SharedState, redis: Redis) -> None:
    """All processes together: what one has used up is not there for another."""
    budget, other = (StreamBudget(RateLimits(each)) for each in (shared, SharedState(redis, "two")))
    for _ in range(9):
        assert await budget.may_start("T1")
        assert await other.may_start("T1")
    assert not await budget.may_start("T1")
    assert await other.may_start("T2")
    assert budget.interval() == 1.0
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(budget.share())
        assert 10 * 60 / budget.interval() <= 100
    assert budget.interval() == 1.0
