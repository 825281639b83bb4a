"""The Slack server for tests refuses, delivers and fails as Slack does: seen with the real SDK and Bolt."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_sdk.errors import SlackApiError
from slack_sdk.models.messages.chunk import TaskUpdateChunk
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from tests.servers.slack.requests import signature
from tests.servers.slack.service import (
    ALICE,
    BOT_USER,
    GENERAL,
    PROXY_VARIABLES,
    TEAM,
    Slack,
)
from tests.servers.slack.workspace import APP
from tests.support.wait import wait_until

Json = Any

RECIPIENT: dict[str, Json] = {"recipient_team_id": TEAM, "recipient_user_id": ALICE}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXY_VARIABLES, "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    async with Slack(redelivery_delays=(0.0, 0.02, 0.02)) as server:
        server.grant("files:write", "reactions:write", "users:read")
        yield server


@pytest.fixture
def client(slack: Slack) -> AsyncWebClient:
    return AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, retry_handlers=[])


@pytest.fixture
async def root(slack: Slack) -> str:
    return await slack.say(ALICE, GENERAL, "a question")


@asynccontextmanager
async def socket_mode(slack: Slack, app: AsyncApp, ping_interval: float = 10) -> AsyncIterator[None]:
    """Run a Bolt app in Socket Mode."""
    handler = AsyncSocketModeHandler(app, slack.app_token, ping_interval=ping_interval)
    before = len(slack.sockets)
    await handler.connect_async()  # type: ignore[no-untyped-call] # Bolt leaves it untyped
    try:
        await slack.connected(before + 1)
        yield
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call] # Bolt leaves it untyped


def echo_app(slack: Slack, client: AsyncWebClient, http: bool = False) -> AsyncApp:
    """Answers mentions and direct messages with their text, and /echo with its argument."""
    app = AsyncApp(client=client, signing_secret=slack.signing_secret if http else None)

    async def echo(event: dict[str, Json], client: AsyncWebClient) -> None:
        if "bot_id" not in event and "subtype" not in event:
            thread, text = event.get("thread_ts", event["ts"]), f"echo {event['text']}"
            await client.chat_postMessage(channel=event["channel"], thread_ts=thread, text=text)

    @app.event("message")
    async def message(event: dict[str, Json], client: AsyncWebClient) -> None:
        if event["channel_type"] == "im":
            await echo(event, client)

    @app.command("/echo")
    async def command(ack: AsyncAck, command: dict[str, Json], respond: AsyncRespond) -> None:
        await ack(f"got {command['text']}")
        await respond(text=f"echo {command['text']}")

    app.event("app_mention")(echo)
    return app


async def error_of(call: Any) -> str:
    """The error code that a call ends with."""
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


# --- an app against it


async def test_an_echo_app_answers_over_socket_mode(slack: Slack, client: AsyncWebClient) -> None:
    async with socket_mode(slack, echo_app(slack, client)):
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        assert await slack.answer(GENERAL, ts) == f"echo {slack.mention} hello"
        direct = await slack.say(ALICE, slack.dm(ALICE), "in private")
        assert await slack.answer(slack.dm(ALICE), direct) == "echo in private"
        command = await slack.command("/echo", "this", ALICE, GENERAL)
        assert command.response["text"] == "got this"
        await wait_until(lambda: len(slack.ephemerals) == 2, "acknowledgement and answer were shown")
        await slack.settled()
    assert {each.text for each in slack.ephemerals} == {"got this", "echo this"}
    assert all(each.acked and len(each.attempts) == 1 for each in slack.deliveries)
    assert not slack.violations


async def test_an_echo_app_answers_over_http(slack: Slack, client: AsyncWebClient) -> None:
    async with serve(echo_app(slack, client, http=True)) as url:
        slack.request_url = url
        assert await slack.verify_url()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        assert await slack.answer(GENERAL, ts) == f"echo {slack.mention} hello"
        command = await slack.command("/echo", "this", ALICE, GENERAL)
        assert command.acked
        await wait_until(lambda: len(slack.ephemerals) == 2, "acknowledgement and answer were shown")
        await slack.settled()
    assert not slack.violations


@asynccontextmanager
async def serve(app: AsyncApp | web.Application) -> AsyncIterator[str]:
    """Run an app's HTTP side; the address of its events."""
    inner = app.web_app("/slack/events") if isinstance(app, AsyncApp) else app
    runner = web.AppRunner(inner)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    finally:
        await runner.cleanup()


async def test_signatures_are_those_that_the_sdk_checks(slack: Slack) -> None:
    verifier = SignatureVerifier(slack.signing_secret)
    expected = verifier.generate_signature(timestamp="1700000000", body="{}")
    assert signature(slack.signing_secret, "1700000000", b"{}") == expected


# --- events


async def test_a_mention_in_a_channel_is_two_events_with_one_ts(slack: Slack) -> None:
    ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
    mention, message = slack.deliveries
    assert (mention.event["type"], message.event["type"]) == ("app_mention", "message")
    assert mention.event["ts"] == message.event["ts"] == ts
    assert mention.payload["event_id"] != message.payload["event_id"]
    assert mention.event["client_msg_id"] == message.event["client_msg_id"]
    assert "channel_type" not in mention.event
    assert message.event["channel_type"] == "channel"


async def test_order_and_copies_of_events_are_up_to_the_test(slack: Slack) -> None:
    await slack.say(ALICE, GENERAL, f"{slack.mention} hello", copies=2, mention_last=True)
    types = [each.event["type"] for each in slack.deliveries]
    assert types == ["message", "message", "app_mention", "app_mention"]
    assert slack.deliveries[0].payload["event_id"] == slack.deliveries[1].payload["event_id"]


async def test_a_mention_in_a_direct_message_is_one_event(slack: Slack) -> None:
    await slack.say(ALICE, slack.dm(ALICE), f"{slack.mention} hello")
    (delivery,) = slack.deliveries
    assert (delivery.event["type"], delivery.event["channel_type"]) == ("message", "im")


async def test_where_the_bot_is_no_member_it_hears_nothing(slack: Slack) -> None:
    slack.add_channel("C0OTHER", members=[ALICE])
    await slack.say(ALICE, "C0OTHER", f"{slack.mention} hello")
    assert not slack.deliveries


async def test_the_bots_own_posts_and_edits_come_back(slack: Slack, client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(channel=GENERAL, text="one")
    await client.chat_update(channel=GENERAL, ts=str(posted["ts"]), text="two")
    await client.chat_delete(channel=GENERAL, ts=str(posted["ts"]))
    own, changed, deleted = (each.event for each in slack.deliveries)
    assert own["user"] == BOT_USER
    assert own["bot_id"]
    assert own["app_id"] == APP
    assert (changed["subtype"], changed["message"]["text"]) == ("message_changed", "two")
    assert (deleted["subtype"], deleted["deleted_ts"]) == ("message_deleted", posted["ts"])


async def test_a_person_edits_and_deletes(slack: Slack, root: str) -> None:
    slack.edit(GENERAL, root, "a better question")
    slack.remove(GENERAL, root)
    assert [each.event.get("subtype") for each in slack.deliveries] == [
        None,
        "message_changed",
        "message_deleted",
    ]
    assert slack.deliveries[1].event["previous_message"]["text"] == "a question"


# --- redelivery


async def test_an_event_without_acknowledgement_comes_three_times_more(
    slack: Slack, client: AsyncWebClient
) -> None:
    slack.courier.ack_timeout = 0.05
    seen: list[tuple[str, list[str]]] = []
    app = AsyncApp(client=client)

    @app.middleware
    async def deaf(body: dict[str, Json], request: Json) -> None:
        seen.append((body["event_id"], request.headers["x-slack-retry-num"]))
        # neither `next` nor a response: Bolt answers 404, so that nothing is acknowledged

    async with socket_mode(slack, app):
        await slack.say(ALICE, GENERAL, "hello")
        await slack.settled()
    (delivery,) = slack.deliveries
    assert not delivery.acked
    assert [each.reason for each in delivery.attempts] == [None, "timeout", "timeout", "timeout"]
    assert len({each.envelope_id for each in delivery.attempts}) == 4
    assert sorted(seen) == [(delivery.payload["event_id"], [str(number)]) for number in range(4)]


async def test_an_event_comes_again_until_the_app_acknowledges(slack: Slack, client: AsyncWebClient) -> None:
    slack.courier.ack_timeout = 0.2
    slack.courier.redelivery_delays = [0.0] * 20
    app = AsyncApp(client=client, process_before_response=True)
    attempts = 0

    @app.event("message")
    async def message() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ConnectionError("the store is away")

    async with socket_mode(slack, app):
        await slack.say(ALICE, GENERAL, "hello")
        await slack.settled()
    (delivery,) = slack.deliveries
    assert delivery.acked
    assert [each.failure for each in delivery.attempts[:1]] == ["timeout"]
    assert len(delivery.attempts) == attempts
    assert delivery.elapsed_ms is not None


async def test_an_event_waits_for_a_socket_as_redelivery(slack: Slack, client: AsyncWebClient) -> None:
    slack.courier.redelivery_delays = (0.0, *[0.02] * 200)
    await slack.say(ALICE, GENERAL, "hello")
    async with socket_mode(slack, echo_app(slack, client)):
        await slack.settled()
    (delivery,) = slack.deliveries
    assert delivery.attempts[0].failure == delivery.attempts[1].failure == "connection_failed"
    assert delivery.acked


async def test_over_http_errors_are_redelivered_with_headers_until_told_not_to(slack: Slack) -> None:
    seen: list[tuple[str | None, str | None]] = []

    async def refuse(request: web.Request) -> web.Response:
        seen.append((request.headers.get("x-slack-retry-num"), request.headers.get("x-slack-retry-reason")))
        return web.Response(status=500, headers={"x-slack-no-retry": "1"} if len(seen) == 3 else {})

    app = web.Application()
    app.router.add_post("/slack/events", refuse)
    async with serve(app) as url:
        slack.request_url = url
        await slack.say(ALICE, GENERAL, "hello")
        await slack.settled()
    assert seen == [(None, None), ("1", "http_error"), ("2", "http_error")]


async def test_commands_come_once(slack: Slack) -> None:
    command = await slack.command("/echo", "this", ALICE, GENERAL)
    assert not command.acked
    assert len(command.delivery.attempts) == 1


# --- sockets


async def raw_socket(slack: Slack, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
    """A Socket Mode connection without the SDK, after its hello."""
    opened = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token=slack.app_token)
    socket = await session.ws_connect(str(opened["url"]))
    assert (await socket.receive_json())["type"] == "hello"
    return socket


async def test_an_address_is_good_for_one_connection(slack: Slack) -> None:
    opened = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token=slack.app_token)
    async with aiohttp.ClientSession() as session, session.ws_connect(str(opened["url"])):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(str(opened["url"]))
    assert slack.socket_mode.refused_handshakes == 1


async def test_an_address_expires(slack: Slack) -> None:
    slack.socket_mode.ticket_lifetime = -1
    opened = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token=slack.app_token)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(str(opened["url"]))


async def test_payloads_go_to_one_of_several_sockets(slack: Slack, client: AsyncWebClient) -> None:
    app = echo_app(slack, client)
    async with socket_mode(slack, app), socket_mode(slack, app):
        for number in range(4):
            await slack.say(ALICE, GENERAL, str(number))
        await slack.settled()
    assert all(len(each.attempts) == 1 and each.acked for each in slack.deliveries)


async def test_an_acknowledgement_on_another_socket_does_not_count(slack: Slack) -> None:
    slack.courier.ack_timeout = 0.1
    slack.courier.redelivery_delays = ()
    async with aiohttp.ClientSession() as session:
        first, second = await raw_socket(slack, session), await raw_socket(slack, session)
        await slack.say(ALICE, GENERAL, "hello")
        envelope = await first.receive_json()
        await second.send_json({"envelope_id": envelope["envelope_id"]})
        await slack.settled()
    assert not slack.deliveries[0].acked
    assert not slack.violations


@pytest.mark.parametrize("frame", ["nonsense", "{}", '{"envelope_id": "nobody-sent-this"}'])
async def test_wrong_acknowledgements_are_violations(slack: Slack, frame: str) -> None:
    async with aiohttp.ClientSession() as session:
        socket = await raw_socket(slack, session)
        await socket.send_str(frame)
        await wait_until(lambda: len(slack.violations) == 1, "it was noted")


async def test_a_payload_with_an_events_acknowledgement_is_a_violation(slack: Slack) -> None:
    async with aiohttp.ClientSession() as session:
        socket = await raw_socket(slack, session)
        await slack.say(ALICE, GENERAL, "hello")
        envelope = await socket.receive_json()
        await socket.send_json({"envelope_id": envelope["envelope_id"], "payload": {"text": "no"}})
        await slack.settled()
    assert len(slack.violations) == 1


async def test_the_sdk_moves_to_a_new_socket_when_asked_to(slack: Slack, client: AsyncWebClient) -> None:
    async with socket_mode(slack, echo_app(slack, client)):
        await slack.disconnect("refresh_requested")
        await wait_until(lambda: slack.socket_mode.opened == 2, "a second connection")
        await slack.connected()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        assert await slack.answer(GENERAL, ts)


@pytest.mark.parametrize("trouble", ["drop", "deafen"])
async def test_the_sdk_replaces_a_dead_socket(slack: Slack, client: AsyncWebClient, trouble: str) -> None:
    async with socket_mode(slack, echo_app(slack, client), ping_interval=0.1):
        if trouble == "drop":
            slack.drop_sockets()
        else:
            slack.deafen_sockets()
        await wait_until(lambda: slack.socket_mode.opened == 2, "a second connection")


async def test_ten_sockets_are_the_most(slack: Slack) -> None:
    async with aiohttp.ClientSession() as session:
        kept = [await raw_socket(slack, session) for _ in range(10)]
        opened = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token=slack.app_token)
        eleventh = await session.ws_connect(str(opened["url"]))
        assert (await eleventh.receive_json())["reason"] == "too_many_websockets"
        assert len(kept) == 10  # a socket that nobody refers to is closed by aiohttp
    assert len(slack.violations) == 1


# --- refusals


@pytest.mark.parametrize(
    ("token", "method", "error"),
    [
        (None, "auth.test", "not_authed"),
        ("xoxb-somebody-elses", "auth.test", "invalid_auth"),
        ("xapp-test-app", "auth.test", "not_allowed_token_type"),
        ("xoxb-test-bot", "apps.connections.open", "not_allowed_token_type"),
    ],
)
async def test_tokens_are_checked(slack: Slack, token: str | None, method: str, error: str) -> None:
    assert await error_of(AsyncWebClient(token=token, base_url=slack.api_url).api_call(method)) == error
    assert slack.violations


def section(text: str) -> dict[str, Json]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def task(**fields: str) -> dict[str, Json]:
    return {"type": "task_update", "id": "1", "title": "Look", "status": "in_progress"} | fields


def button(**fields: Json) -> dict[str, Json]:
    text = {"type": "plain_text", "text": "Press"}
    return {"type": "button", "action_id": "press", "text": text} | fields


REFUSED_MESSAGES: list[tuple[dict[str, Json], str]] = [
    ({"channel": GENERAL}, "no_text"),
    ({"text": "hello"}, "invalid_arguments"),
    ({"channel": "C0NOWHERE", "text": "hello"}, "channel_not_found"),
    ({"channel": "C0OTHER", "text": "hello"}, "not_in_channel"),
    ({"channel": "C0PRIVATE", "text": "hello"}, "channel_not_found"),
    ({"channel": GENERAL, "text": "a", "markdown_text": "b"}, "markdown_text_conflict"),
    ({"channel": GENERAL, "text": "", "markdown_text": "b"}, "markdown_text_conflict"),
    ({"channel": GENERAL, "blocks": [section("a")], "markdown_text": "b"}, "markdown_text_conflict"),
    ({"channel": GENERAL, "markdown_text": "b" * 12_001}, "msg_too_long"),
    ({"channel": GENERAL, "text": "a", "thread_ts": "1.000001"}, "cannot_reply_to_message"),
    ({"channel": GENERAL, "text": "a", "thread_ts": "REPLY"}, "cannot_reply_to_message"),
    ({"channel": GENERAL, "text": "a", "metadata": {"event_type": "key"}}, "invalid_metadata_format"),
    (
        {
            "channel": GENERAL,
            "text": "a",
            "metadata": {"event_type": "k", "event_payload": {"k": "v" * 9_000}},
        },
        "metadata_too_large",
    ),
    ({"channel": GENERAL, "text": "a", "blocks": "nonsense"}, "invalid_blocks_format"),
    ({"channel": GENERAL, "text": "a", "blocks": [section("a")] * 51}, "invalid_blocks"),
    ({"channel": GENERAL, "text": "a", "blocks": [section("a" * 3_001)]}, "invalid_blocks"),
    ({"channel": GENERAL, "text": "a", "blocks": [section("")]}, "invalid_blocks"),
    ({"channel": GENERAL, "text": "a", "blocks": [section("a" * 2_900)] * 5}, "msg_blocks_too_long"),
    ({"channel": GENERAL, "text": "a", "blocks": [{"type": "blink"}]}, "invalid_blocks"),
    (
        {"channel": GENERAL, "text": "a", "blocks": [section("a") | {"block_id": "b"}] * 2},
        "invalid_blocks",
    ),
    (
        {"channel": GENERAL, "text": "a", "blocks": [{"type": "markdown", "text": "a" * 6_001}] * 2},
        "msg_too_long",
    ),
    (
        {"channel": GENERAL, "text": "a", "blocks": [{"type": "header", "text": section("a" * 151)["text"]}]},
        "invalid_blocks",
    ),
    (
        {"channel": GENERAL, "text": "a", "blocks": [{"type": "actions", "elements": [button()] * 26}]},
        "invalid_blocks",
    ),
    (
        {
            "channel": GENERAL,
            "text": "a",
            "blocks": [{"type": "actions", "elements": [button(value="v" * 2_001)]}],
        },
        "invalid_blocks",
    ),
    (
        {"channel": GENERAL, "text": "a", "blocks": [{"type": "context_actions", "elements": [button()]}]},
        "invalid_blocks",
    ),
    (
        {
            "channel": GENERAL,
            "text": "a",
            "blocks": [{"type": "table", "rows": [[{"type": "raw_text", "text": "x"}] * 21]}],
        },
        "invalid_blocks",
    ),
]


@pytest.mark.parametrize(("arguments", "error"), REFUSED_MESSAGES)
async def test_messages_are_refused(
    slack: Slack, client: AsyncWebClient, root: str, arguments: dict[str, Json], error: str
) -> None:
    slack.add_channel("C0OTHER", members=[ALICE])
    slack.add_channel("C0PRIVATE", kind="group", members=[ALICE])
    if arguments.get("thread_ts") == "REPLY":
        arguments = arguments | {"thread_ts": await slack.say(ALICE, GENERAL, "more", root)}
    before = len(slack.messages(GENERAL))
    assert await error_of(client.api_call("chat.postMessage", json=arguments)) == error
    assert len(slack.violations) == 1
    assert len(slack.messages(GENERAL)) == before


async def test_what_slack_would_ignore_or_cut_is_noted(slack: Slack, client: AsyncWebClient) -> None:
    await client.api_call(
        "chat.postMessage", json={"channel": GENERAL, "text": "a" * 40_001, "colour": "red"}
    )
    assert len(slack.messages(GENERAL)[0].text) == 40_000
    assert len(slack.violations) == 2


async def test_an_unknown_method_is_refused(slack: Slack, client: AsyncWebClient) -> None:
    assert await error_of(client.api_call("chat.sing")) == "unknown_method"
    assert slack.violations


async def test_a_disabled_method_is_no_violation(slack: Slack, client: AsyncWebClient, root: str) -> None:
    slack.disable("agents.sessions.setStatus")
    call = client.agents_sessions_setStatus(channel_id=GENERAL, thread_ts=root, status="processing")
    assert await error_of(call) == "unknown_method"
    assert not slack.violations


async def test_updates_are_refused(slack: Slack, client: AsyncWebClient, root: str) -> None:
    ts = str((await client.chat_postMessage(channel=GENERAL, text="one"))["ts"])
    assert await error_of(client.chat_update(channel=GENERAL, ts=ts, text="a" * 4_001)) == "msg_too_long"
    assert await error_of(client.chat_update(channel=GENERAL, ts=root, text="a")) == "cant_update_message"
    assert await error_of(client.chat_update(channel=GENERAL, ts="1.0", text="a")) == "message_not_found"
    assert await error_of(client.chat_delete(channel=GENERAL, ts=root)) == "cant_delete_message"
    assert len(slack.violations) == 4


async def test_an_update_keeps_metadata_unless_it_is_given(slack: Slack, client: AsyncWebClient) -> None:
    metadata = {"event_type": "key", "event_payload": {"key": "1"}}
    ts = str((await client.chat_postMessage(channel=GENERAL, text="one", metadata=metadata))["ts"])
    await client.chat_update(channel=GENERAL, ts=ts, text="two")
    assert slack.message(GENERAL, ts).metadata == metadata
    assert [step.shown for step in slack.message(GENERAL, ts).history] == ["one", "two"]
    await client.chat_update(channel=GENERAL, ts=ts, text="two", metadata={})
    assert slack.message(GENERAL, ts).metadata is None


async def test_a_removed_bots_writes_are_refused_without_a_violation(
    slack: Slack, client: AsyncWebClient
) -> None:
    slack.remove_bot(GENERAL)
    assert await error_of(client.chat_postMessage(channel=GENERAL, text="a")) == "not_in_channel"
    slack.revoke(slack.bot_token)
    assert await error_of(client.auth_test()) == "token_revoked"
    assert not slack.violations


@pytest.mark.parametrize(
    ("arguments", "is_noted"),
    [
        ({"text": "see https://example.com"}, True),
        ({"markdown_text": "[x](http://example.com)", "unfurl_links": False}, True),
        ({"text": "see https://example.com", "unfurl_links": True, "unfurl_media": False}, True),
        ({"text": "see https://example.com", "unfurl_links": False, "unfurl_media": False}, False),
        ({"text": "nothing to see"}, False),
    ],
)
async def test_a_text_whose_links_slack_would_fetch_is_noted(
    slack: Slack, client: AsyncWebClient, arguments: dict[str, Json], is_noted: bool
) -> None:
    await client.api_call("chat.postMessage", json={"channel": GENERAL} | arguments)
    assert bool(slack.violations) is is_noted


async def test_files_info_describes_a_file_and_users_info_a_person(
    slack: Slack, client: AsyncWebClient
) -> None:
    await slack.say(ALICE, GENERAL, "look", files=[("a.csv", "text/csv", b"a,b")])
    [id] = slack.workspace.files
    assert (await client.files_info(file=id))["file"]["size"] == 3
    assert await error_of(client.files_info(file="F0OTHER")) == "file_not_found"
    slack.describe("U0DANA", team_id="T0OTHER0001", is_restricted=True)
    user = (await client.users_info(user="U0DANA"))["user"]
    assert (user["name"], user["team_id"], user["is_restricted"]) == ("dana", "T0OTHER0001", True)


async def test_tolerated_refusals_are_no_violation(slack: Slack, client: AsyncWebClient) -> None:
    slack.tolerate("channel_not_found")
    assert await error_of(client.chat_postMessage(channel="C0GONE", text="a")) == "channel_not_found"
    assert not slack.violations


async def test_reading_methods_take_no_json(slack: Slack, client: AsyncWebClient) -> None:
    assert await error_of(client.api_call("users.info", json={"user": ALICE})) == "invalid_arguments"
    assert (await client.users_info(user=ALICE))["user"]["name"] == "alice"


async def test_an_ephemeral_message_needs_a_member(slack: Slack, client: AsyncWebClient) -> None:
    await client.chat_postEphemeral(channel=GENERAL, user=ALICE, text="psst")
    assert [each.text for each in slack.ephemerals] == ["psst"]
    call = client.chat_postEphemeral(channel=GENERAL, user="U0NOBODY", text="psst")
    assert await error_of(call) == "user_not_in_channel"


# --- streams


async def test_the_sdks_stream_shows_text_as_it_grows(
    slack: Slack, client: AsyncWebClient, root: str
) -> None:
    stream = await client.chat_stream(channel=GENERAL, thread_ts=root, buffer_size=1, **RECIPIENT)
    await stream.append(markdown_text="Hello")
    running = TaskUpdateChunk(id="1", title="Looking", status="in_progress", details="a")
    await stream.append(chunks=[running])
    done = TaskUpdateChunk(id="1", title="Looked", status="complete", details="b", output="3 rows")
    await stream.append(markdown_text=", world", chunks=[done])
    metadata = {"event_type": "key", "event_payload": {"key": "1"}}
    await stream.stop(markdown_text="!", blocks=[section("the end")], metadata=metadata)
    (message,) = slack.replies(GENERAL, root)
    steps = [(step.action, step.shown) for step in message.history]
    assert steps[0] == ("start", "Hello")
    assert steps[-1] == ("stop", "Hello, world!\nthe end")
    assert message.first_text_at == message.history[0].at
    assert message.streaming_state == "completed"
    assert message.metadata == metadata
    assert message.tasks["1"] == {
        "title": "Looked",
        "status": "complete",
        "details": "ab",
        "output": "3 rows",
        "sources": [],
    }
    assert await slack.answer(GENERAL, root) == "Hello, world!\nthe end"
    assert not slack.violations


async def start(client: AsyncWebClient, root: str, **arguments: Json) -> str:
    recipient: dict[str, Json] = RECIPIENT | arguments
    answer = await client.chat_startStream(channel=GENERAL, thread_ts=root, **recipient)
    return str(answer["ts"])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"recipient_team_id": None}, "missing_recipient_team_id"),
        ({"recipient_user_id": None}, "missing_recipient_user_id"),
        ({"recipient_user_id": "U0NOBODY"}, "user_not_found"),
        ({"thread_ts": "1.0"}, "cannot_reply_to_message"),
        ({"task_display_mode": "loud"}, "invalid_arguments"),
        ({"markdown_text": "a" * 12_001}, "msg_too_long"),
        ({"chunks": [{"type": "markdown_text", "text": "a" * 6_001}] * 2}, "msg_too_long"),
        ({"chunks": [{"type": "song"}]}, "invalid_chunks"),
        ({"chunks": [{"type": "markdown_text", "text": "a", "colour": "red"}]}, "invalid_chunks"),
        ({"chunks": [{"type": "task_update", "id": "1"}]}, "invalid_chunks"),
        ({"chunks": [task(status="completed")]}, "invalid_chunks"),
        ({"chunks": [task(title="a" * 257)]}, "invalid_chunks"),
        ({"chunks": [task(details="a" * 257)]}, "invalid_chunks"),
        ({"chunks": [task(output="a" * 257)]}, "invalid_chunks"),
        ({"chunks": [{"type": "blocks", "blocks": [{"type": "divider"}] * 51}]}, "msg_blocks_too_many"),
    ],
)
async def test_streams_are_refused(
    slack: Slack, client: AsyncWebClient, root: str, arguments: dict[str, Json], error: str
) -> None:
    complete = {"channel": GENERAL, "thread_ts": root, **RECIPIENT, **arguments}
    assert await error_of(client.chat_startStream(**complete)) == error
    assert not slack.replies(GENERAL, root)
    assert len(slack.violations) == 1


async def test_a_direct_message_needs_no_recipient(slack: Slack, client: AsyncWebClient) -> None:
    direct = slack.dm(ALICE)
    ts = await slack.say(ALICE, direct, "hello")
    await client.chat_startStream(channel=direct, thread_ts=ts)
    assert not slack.violations


async def test_metadata_at_the_start_of_a_stream_is_noted(
    slack: Slack, client: AsyncWebClient, root: str
) -> None:
    await start(client, root, metadata={"event_type": "key", "event_payload": {}})
    assert slack.violations == ["chat.startStream: unknown arguments ['metadata']"]


async def test_an_open_stream_refuses_update_and_delete(
    slack: Slack, client: AsyncWebClient, root: str
) -> None:
    ts = await start(client, root)
    assert await error_of(client.chat_update(channel=GENERAL, ts=ts, text="a")) == "streaming_state_conflict"
    assert await error_of(client.chat_delete(channel=GENERAL, ts=ts)) == "cant_delete_message"
    assert await error_of(client.chat_appendStream(channel=GENERAL, ts=ts)) == "no_text"


async def test_a_stopped_stream_takes_no_more(slack: Slack, client: AsyncWebClient, root: str) -> None:
    ts = await start(client, root, markdown_text="a")
    await client.chat_stopStream(channel=GENERAL, ts=ts)
    for call in (client.chat_appendStream, client.chat_stopStream):
        error = await error_of(call(channel=GENERAL, ts=ts, markdown_text="b"))
        assert error == "message_not_in_streaming_state"
    assert len(slack.violations) == 2
    error = await error_of(client.chat_appendStream(channel=GENERAL, ts=root, markdown_text="b"))
    assert error == "message_not_owned_by_app"


@pytest.mark.parametrize("way", ["end_stream", "stream_lifetime"])
async def test_slack_ends_a_stream_and_then_takes_an_update(
    slack: Slack, client: AsyncWebClient, root: str, way: str
) -> None:
    ts = await start(client, root, markdown_text="a")
    if way == "end_stream":
        slack.end_stream(GENERAL, ts)
    else:
        slack.stream_lifetime = 0.0
    error = await error_of(client.chat_appendStream(channel=GENERAL, ts=ts, markdown_text="b"))
    assert error == "message_not_in_streaming_state"
    await client.chat_update(channel=GENERAL, ts=ts, markdown_text="ab")
    assert await slack.answer(GENERAL, root) == "ab"
    assert not slack.violations


async def test_a_person_stops_a_stream(slack: Slack, client: AsyncWebClient, root: str) -> None:
    ts = await start(client, root, markdown_text="a")
    event = slack.stop(ALICE, GENERAL, root).event
    assert event["type"] == "agent_session_stopped"
    assert event["streaming_message_ts"] == [ts]
    error = await error_of(client.chat_appendStream(channel=GENERAL, ts=ts, markdown_text="b"))
    assert error == "stopped_by_user"
    assert not slack.violations


# --- status, sessions, prompts


async def test_a_status_lasts_until_the_reply(slack: Slack, client: AsyncWebClient, root: str) -> None:
    await client.assistant_threads_setStatus(
        channel_id=GENERAL, thread_ts=root, status="is thinking", loading_messages=["Hm"]
    )
    assert slack.status(GENERAL, root) == "is thinking"
    await client.chat_postMessage(channel=GENERAL, thread_ts=root, text="done")
    assert slack.status(GENERAL, root) == ""
    assert [each.status for each in slack.statuses] == ["is thinking", ""]
    await client.assistant_threads_setStatus(channel_id=GENERAL, thread_ts=root, status="")
    assert not slack.violations


async def test_statuses_and_prompts_are_refused(slack: Slack, client: AsyncWebClient, root: str) -> None:
    status, session = client.assistant_threads_setStatus, client.agents_sessions_setStatus
    assert await error_of(status(channel_id=GENERAL, thread_ts="1.0", status="x")) == "invalid_thread_ts"
    many = status(channel_id=GENERAL, thread_ts=root, status="x", loading_messages=["x"] * 11)
    assert await error_of(many) == "invalid_arguments"
    assert await error_of(session(channel_id=GENERAL, thread_ts=root, status="busy")) == "invalid_status"
    assert await error_of(session(channel_id=GENERAL, status="active")) == "thread_ts_required"
    prompts = [{"title": "a", "message": "b"}] * 5
    call = client.assistant_threads_setSuggestedPrompts(channel_id=GENERAL, prompts=prompts)
    assert await error_of(call) == "invalid_arguments"
    assert len(slack.violations) == 5


async def test_an_answer_is_not_finished_while_its_session_works(
    slack: Slack, client: AsyncWebClient, root: str
) -> None:
    await client.agents_sessions_setStatus(channel_id=GENERAL, thread_ts=root, status="processing")
    await client.chat_postMessage(channel=GENERAL, thread_ts=root, text="wait")
    with pytest.raises(AssertionError, match="an answer in"):
        await slack.answer(GENERAL, root, timeout=0.05)
    await client.agents_sessions_setStatus(channel_id=GENERAL, thread_ts=root, status="active")
    assert await slack.answer(GENERAL, root) == "wait"


async def test_opening_the_app_is_an_event(slack: Slack, client: AsyncWebClient) -> None:
    event = slack.open_home(ALICE).event
    assert (event["type"], event["tab"], event["channel"]) == ("app_home_opened", "messages", slack.dm(ALICE))
    prompts = [{"title": "Help", "message": "What can you do?"}]
    await client.assistant_threads_setSuggestedPrompts(channel_id=event["channel"], prompts=prompts)
    assert slack.workspace.prompts[event["channel"], None] == prompts


# --- reading


async def test_history_has_roots_newest_first_in_pages(slack: Slack, client: AsyncWebClient) -> None:
    stamps = [await slack.say(ALICE, GENERAL, str(number)) for number in range(5)]
    reply = await slack.say(ALICE, GENERAL, "reply", stamps[0])
    first = await client.conversations_history(channel=GENERAL, limit=3)
    cursor = first["response_metadata"]["next_cursor"]
    second = await client.conversations_history(channel=GENERAL, limit=3, cursor=cursor)
    seen = [each["ts"] for each in [*first["messages"], *second["messages"]]]
    assert seen == stamps[::-1]
    assert not second["has_more"]
    assert second["messages"][-1]["latest_reply"] == reply
    later = await client.conversations_history(channel=GENERAL, oldest=stamps[2])
    assert [each["ts"] for each in later["messages"]] == stamps[:2:-1]


async def test_replies_start_with_the_root(slack: Slack, client: AsyncWebClient, root: str) -> None:
    one = await slack.say(ALICE, GENERAL, "one", root)
    metadata = {"event_type": "key", "event_payload": {"key": "1"}}
    await client.chat_postMessage(channel=GENERAL, thread_ts=root, text="two", metadata=metadata)
    answer = await client.conversations_replies(
        channel=GENERAL, ts=root, oldest=one, include_all_metadata=True
    )
    assert [each["text"] for each in answer["messages"]] == ["a question", "two"]
    assert answer["messages"][1]["metadata"] == metadata
    plain = await client.conversations_replies(channel=GENERAL, ts=root)
    assert not any("metadata" in each for each in plain["messages"])
    assert await error_of(client.conversations_replies(channel=GENERAL, ts="1.0")) == "thread_not_found"


async def test_conversations_of_the_bot(slack: Slack, client: AsyncWebClient) -> None:
    slack.add_channel("C0OTHER", members=[ALICE])
    opened = await client.conversations_open(users=[ALICE])
    direct = slack.dm(ALICE)
    assert opened["channel"]["id"] == direct
    listed = await client.users_conversations(types="public_channel,im")
    assert {each["id"] for each in listed["channels"]} == {GENERAL, direct}
    assert (await client.conversations_info(channel=direct))["channel"]["user"] == ALICE


# --- files, reactions, response URLs, buttons


async def test_a_file_goes_up_in_three_steps(slack: Slack, client: AsyncWebClient, root: str) -> None:
    await client.files_upload_v2(
        filename="a.csv", content="a,b", channel=GENERAL, thread_ts=root, initial_comment="Here"
    )
    (message,) = slack.replies(GENERAL, root)
    assert message.text == "Here"
    assert [(file.name, file.data) for file in message.files] == [("a.csv", b"a,b")]
    assert not slack.violations


async def test_files_are_refused(slack: Slack, client: AsyncWebClient) -> None:
    empty = client.files_getUploadURLExternal(filename="a", length=0)
    assert await error_of(empty) == "invalid_arguments"
    ticket = await client.files_getUploadURLExternal(filename="a", length=2)
    missing = client.files_completeUploadExternal(files=[{"id": str(ticket["file_id"]), "title": "a"}])
    assert await error_of(missing) == "file_not_found"
    async with aiohttp.ClientSession() as session:
        answer = await session.post(str(ticket["upload_url"]), data=b"too long")
        assert answer.status == 400
    assert len(slack.violations) == 3


async def test_a_persons_file_needs_the_bots_token(slack: Slack) -> None:
    await slack.say(ALICE, GENERAL, "look", files=[("a.txt", "text/plain", b"inside")])
    event = slack.deliveries[0].event
    assert event["subtype"] == "file_share"
    url = event["files"][0]["url_private_download"]
    async with aiohttp.ClientSession() as session:
        answer = await session.get(url, headers={"Authorization": f"Bearer {slack.bot_token}"})
        assert await answer.read() == b"inside"
        assert not slack.violations
        assert b"Sign in" in await (await session.get(url)).read()
        assert slack.violations


async def test_a_reaction_counts_once(slack: Slack, client: AsyncWebClient, root: str) -> None:
    await client.reactions_add(channel=GENERAL, timestamp=root, name="eyes")
    again = client.reactions_add(channel=GENERAL, timestamp=root, name="eyes")
    assert await error_of(again) == "already_reacted"
    assert slack.message(GENERAL, root).reactions == {("eyes", BOT_USER)}
    assert not slack.violations


async def test_a_response_url_is_good_for_five_answers(slack: Slack) -> None:
    url = slack.response_urls.issue(ALICE, GENERAL)
    webhook = AsyncWebhookClient(url.url)
    statuses = [(await webhook.send(text=str(number))).status_code for number in range(6)]
    assert statuses == [200] * 5 + [404]
    assert len(slack.violations) == 1
    assert len(slack.ephemerals) == 5


async def test_a_response_url_expires_and_wants_text(slack: Slack) -> None:
    url = AsyncWebhookClient(slack.response_urls.issue(ALICE, GENERAL).url)
    assert (await url.send(response_type="ephemeral")).status_code == 400
    slack.response_urls.lifetime = 0.0
    expired = AsyncWebhookClient(slack.response_urls.issue(ALICE, GENERAL).url)
    assert (await expired.send(text="late")).status_code == 404
    assert len(slack.violations) == 2


def a_view(**fields: Json) -> dict[str, Json]:
    text = {"type": "plain_text", "text": "A form"}
    element = {"type": "plain_text_input", "action_id": "name", "max_length": 5}
    block = {"type": "input", "block_id": "name", "label": text, "element": element}
    return {"type": "modal", "callback_id": "form", "title": text, "submit": text, "blocks": [block]} | fields


@asynccontextmanager
async def asking_app(slack: Slack, client: AsyncWebClient, http: bool) -> AsyncIterator[None]:
    """/ask opens a form, which is told that the name `no` is wrong."""
    app = AsyncApp(client=client, signing_secret=slack.signing_secret if http else None)

    @app.command("/ask")
    async def ask(ack: AsyncAck, body: dict[str, Json], client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=a_view(private_metadata="kept"))

    @app.view("form")
    async def form(ack: AsyncAck, view: dict[str, Json], client: AsyncWebClient) -> None:
        assert view["private_metadata"] == "kept"
        name = view["state"]["values"]["name"]["name"]["value"]
        if name == "no":
            await ack(response_action="errors", errors={"name": "not that one"})
        else:
            await ack()

    if not http:
        async with socket_mode(slack, app):
            yield
        return
    async with serve(app) as slack.request_url:
        yield


@pytest.mark.parametrize("http", [False, True], ids=["socket", "http"])
async def test_a_form_is_opened_sent_off_and_shows_errors(
    slack: Slack, client: AsyncWebClient, http: bool
) -> None:
    async with asking_app(slack, client, http):
        assert (await slack.command("/ask", "", ALICE, GENERAL)).acked
        await wait_until(lambda: len(slack.modals) == 1, "the form is shown")
        [form] = slack.modals
        for wrong in ({"name": ""}, {"name": "longer"}, {"name": "x", "other": "y"}):
            with pytest.raises(LookupError):
                await slack.submit(form, wrong)
        assert (await slack.submit(form, {"name": "no"})).errors == {"name": "not that one"}
        assert form.is_open
        assert not (await slack.submit(form, {"name": "yes"})).is_open
        with pytest.raises(LookupError):
            await slack.submit(form, {"name": "again"})
    assert not slack.violations


async def test_a_form_without_an_answer_stays_open(slack: Slack, client: AsyncWebClient) -> None:
    """Slack tells the person that there was trouble; it does not send the form again."""
    async with asking_app(slack, client, http=False):
        await slack.command("/ask", "", ALICE, GENERAL)
        await wait_until(lambda: len(slack.modals) == 1, "the form is shown")
    form = await slack.submit(slack.modals[0], {"name": "yes"})
    assert form.is_open
    assert form.errors is not None
    assert "trouble" in form.errors[""]


@pytest.mark.parametrize(
    ("view", "code"),
    [
        (a_view(type="home"), "invalid_arguments"),
        (a_view(title={"type": "plain_text", "text": "x" * 25}), "invalid_arguments"),
        (a_view(title={"type": "mrkdwn", "text": "x"}), "invalid_arguments"),
        (a_view(private_metadata="x" * 3_001), "invalid_arguments"),
        (a_view(callback_id="x" * 256), "invalid_arguments"),
        (a_view(blocks=[]), "invalid_arguments"),
        (a_view(blocks=a_view()["blocks"] * 2), "invalid_arguments"),
        ({name: value for name, value in a_view().items() if name != "submit"}, "invalid_arguments"),
    ],
)
async def test_a_faulty_form_is_refused(
    slack: Slack, client: AsyncWebClient, view: dict[str, Json], code: str
) -> None:
    trigger = slack.workspace.new_trigger(ALICE)
    assert await error_of(client.views_open(trigger_id=trigger, view=view)) == code
    assert slack.modals == []


async def test_a_trigger_opens_one_form_and_not_for_long(slack: Slack, client: AsyncWebClient) -> None:
    trigger = slack.workspace.new_trigger(ALICE)
    await client.views_open(trigger_id=trigger, view=a_view())
    assert await error_of(client.views_open(trigger_id=trigger, view=a_view())) == "exchanged_trigger_id"
    assert await error_of(client.views_open(trigger_id="made up", view=a_view())) == "invalid_trigger_id"
    slack.workspace.trigger_lifetime = 0
    late = slack.workspace.new_trigger(ALICE)
    assert await error_of(client.views_open(trigger_id=late, view=a_view())) == "expired_trigger_id"


async def test_a_pressed_button_replaces_its_message(slack: Slack, client: AsyncWebClient) -> None:
    app = AsyncApp(client=client)

    @app.action("press")
    async def press(ack: AsyncAck, action: dict[str, Json], respond: AsyncRespond) -> None:
        await ack()
        await respond(text=f"pressed {action['value']}", replace_original=True)

    blocks = [{"type": "actions", "elements": [button(value="yes")]}]
    ts = str((await client.chat_postMessage(channel=GENERAL, text="Sure?", blocks=blocks))["ts"])
    await slack.settled()  # nobody listens yet
    async with socket_mode(slack, app):
        assert (await slack.press(ALICE, GENERAL, ts, "press")).acked
        await wait_until(lambda: slack.message(GENERAL, ts).shown == "pressed yes", "it was replaced")
    assert not slack.violations


# --- faults and rates


async def test_a_rate_limit_names_its_seconds(slack: Slack, client: AsyncWebClient) -> None:
    fault = slack.fail("chat.postMessage", status=429, retry_after=7)
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=GENERAL, text="a")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "7"
    await client.chat_postMessage(channel=GENERAL, text="a")
    assert fault.hits == 1
    assert not slack.violations


@pytest.mark.parametrize("after_applying", [False, True])
async def test_a_connection_breaks_before_or_after_the_write(
    slack: Slack, client: AsyncWebClient, after_applying: bool
) -> None:
    slack.fail("chat.postMessage", after_applying=after_applying)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.chat_postMessage(channel=GENERAL, text="a")
    assert len(slack.messages(GENERAL)) == after_applying


async def test_any_method_can_answer_with_an_error(slack: Slack, client: AsyncWebClient) -> None:
    fault = slack.fail("*", times=float("inf"), error="internal_error")
    assert await error_of(client.auth_test()) == "internal_error"
    assert await error_of(client.users_info(user=ALICE)) == "internal_error"
    fault.lift()
    await client.auth_test()


async def test_a_slow_call_succeeds(slack: Slack, client: AsyncWebClient) -> None:
    slack.slow("auth.test", 0.05)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await client.auth_test()
    assert loop.time() - before >= 0.04


async def test_an_outage_ends(slack: Slack, client: AsyncWebClient) -> None:
    async with aiohttp.ClientSession() as session:
        socket = await raw_socket(slack, session)
        slack.outage = "unreachable"
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.auth_test()
    slack.outage = "broken"
    with pytest.raises(SlackApiError) as caught:
        await client.auth_test()
    assert caught.value.response.status_code == 500
    slack.outage = None
    await client.auth_test()


async def test_calls_are_counted_and_limited_when_asked(
    slack: Slack, client: AsyncWebClient, root: str
) -> None:
    for _ in range(20):
        await start(client, root)
    assert not slack.over_tier()
    await start(client, root)
    assert slack.over_tier() == {"chat.startStream": 21}
    slack.enforce_tiers = True
    assert await error_of(start(client, root)) == "ratelimited"
    assert slack.count("chat.startStream") == 22
    assert not slack.violations


async def test_forms_and_query_strings_are_understood(slack: Slack) -> None:
    blocks = json.dumps([section("shown")])
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {slack.bot_token}"}) as session:
        form = {"channel": GENERAL, "text": "a", "blocks": blocks}
        url = f"{slack.api_url}chat.postMessage"
        for answer in (await session.post(url, data=form), await session.post(url, params=form)):
            assert (await answer.json())["ok"]
    assert [each.shown for each in slack.messages(GENERAL)] == ["shown", "shown"]


async def test_the_environment_for_a_child_process_names_one_mode(slack: Slack) -> None:
    socket = slack.environ
    assert socket["SLACK_API_URL"] == slack.api_url
    assert "SLACK_APP_TOKEN" in socket
    assert "SLACK_SIGNING_SECRET" not in socket
    assert all(socket[name] == "" for name in PROXY_VARIABLES)
    slack.request_url = "http://127.0.0.1:1/slack/events"
    assert "SLACK_APP_TOKEN" not in slack.environ
    assert slack.environ["SLACK_SIGNING_SECRET"] == slack.signing_secret


async def test_what_manifest_yml_does_not_ask_for_is_refused(client: AsyncWebClient, slack: Slack) -> None:
    slack.web_api.scopes.remove("chat:write")
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=GENERAL, text="hello")
    assert caught.value.response["needed"] == "chat:write"
    assert len(slack.violations) == 1


async def test_what_an_app_leaves_open_is_told(client: AsyncWebClient, slack: Slack, root: str) -> None:
    assert slack.unfinished() == []
    place = {"channel": GENERAL, "thread_ts": root}
    card = {"type": "task_update", "id": "c", "title": "Count", "status": "in_progress"}
    asker = {"recipient_team_id": TEAM, "recipient_user_id": ALICE}
    stream = await client.chat_startStream(**place, **asker, chunks=[card])
    await client.assistant_threads_setStatus(channel_id=GENERAL, thread_ts=root, status="is thinking…")
    assert slack.unfinished() == [
        f"stream {stream['ts']}",
        f"card c of {stream['ts']}",
        f"status in {(GENERAL, root)}",
    ]
    await client.assistant_threads_setStatus(channel_id=GENERAL, thread_ts=root, status="")
    done = [card | {"status": "complete"}]
    await client.chat_stopStream(channel=GENERAL, ts=stream["ts"], chunks=done)
    assert slack.unfinished() == []
