"""The Slack server for tests delivers and redelivers events as Slack does, over sockets and HTTP."""

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from tests.servers.slack.requests import signature
from tests.servers.slack.service import ALICE, BOT_USER, GENERAL, Slack
from tests.servers.slack.workspace import APP
from tests.support import slack_client
from tests.support.slack_client import Json, raw_socket, serve, socket_mode
from tests.support.wait import wait_until

environment = slack_client.environment
slack = slack_client.slack
client = slack_client.client
root = slack_client.root


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
        await slack.wait_until_settled()
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
        await slack.wait_until_settled()
    assert not slack.violations


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
        await slack.wait_until_settled()
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
        await slack.wait_until_settled()
    (delivery,) = slack.deliveries
    assert delivery.acked
    assert [each.failure for each in delivery.attempts[:1]] == ["timeout"]
    assert len(delivery.attempts) == attempts
    assert delivery.elapsed_ms is not None


async def test_an_event_waits_for_a_socket_as_redelivery(slack: Slack, client: AsyncWebClient) -> None:
    slack.courier.redelivery_delays = (0.0, *[0.02] * 200)
    await slack.say(ALICE, GENERAL, "hello")
    async with socket_mode(slack, echo_app(slack, client)):
        await slack.wait_until_settled()
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
        await slack.wait_until_settled()
    assert seen == [(None, None), ("1", "http_error"), ("2", "http_error")]


async def test_commands_come_once(slack: Slack) -> None:
    command = await slack.command("/echo", "this", ALICE, GENERAL)
    assert not command.acked
    assert len(command.delivery.attempts) == 1


# --- sockets


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
        await slack.wait_until_settled()
    assert all(len(each.attempts) == 1 and each.acked for each in slack.deliveries)


async def test_an_acknowledgement_on_another_socket_does_not_count(slack: Slack) -> None:
    slack.courier.ack_timeout = 0.1
    slack.courier.redelivery_delays = ()
    async with aiohttp.ClientSession() as session:
        first, second = await raw_socket(slack, session), await raw_socket(slack, session)
        await slack.say(ALICE, GENERAL, "hello")
        envelope = await first.receive_json()
        await second.send_json({"envelope_id": envelope["envelope_id"]})
        await slack.wait_until_settled()
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
        await slack.wait_until_settled()
    assert len(slack.violations) == 1


async def test_the_sdk_moves_to_a_new_socket_when_asked_to(slack: Slack, client: AsyncWebClient) -> None:
    async with socket_mode(slack, echo_app(slack, client)):
        await slack.disconnect("refresh_requested")
        await wait_until(lambda: slack.socket_mode.opened == 2, "a second connection")
        await slack.wait_for_connections()
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
