"""Messages over Slack's sockets: kept before they are acknowledged, and none is lost with a broken socket."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from slack_bolt.async_app import AsyncApp

from bot.chat import CredentialsRejected, Unreachable
from bot.slack.socket_mode import SOCKETS
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.support import slack_platform
from tests.support.settings import needs_sockets
from tests.support.slack_platform import COMMANDS, TIMING, Bot, Connect, Serve, echo, gated_answer
from tests.support.wait import wait_until

hostile_environment = slack_platform.hostile_environment
connected = slack_platform.connect_platform
serving = slack_platform.serve
server = slack_platform.server


# --- messages come in


async def test_a_mention_is_answered_in_its_thread_with_a_stream(server: Slack, serving: Serve) -> None:
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


async def test_both_events_of_a_mention_and_every_copy_are_one_message(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello", copies=2)
        await server.answer(GENERAL, ts)
        await server.wait_until_settled()
        assert len(bot.messages) == 4
        assert len({message.id for message in bot.messages}) == 1
        assert all(delivery.acked for delivery in server.deliveries)


async def test_a_direct_message_is_answered(server: Slack, serving: Serve) -> None:
    async with serving(server):
        direct = server.dm(ALICE)
        ts = await server.say(ALICE, direct, "hello")
        assert await server.answer(direct, ts) == "You said: hello "


async def test_a_later_message_of_a_thread_is_handed_over_without_a_mention(
    server: Slack, serving: Serve
) -> None:
    async with serving(server) as bot:
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        await server.answer(GENERAL, ts)
        await server.say(BOB, GENERAL, "and now?", ts)
        message = await bot.wait_for_messages(2)
        assert not message.addressed
        assert message.thread == bot.messages[0].thread


async def test_what_is_not_for_the_bot_is_acknowledged_all_the_same(server: Slack, serving: Serve) -> None:
    server.courier.ack_timeout = 60
    async with serving(server) as bot:
        ts = await server.say(ALICE, GENERAL, "lunch?")
        server.edit(GENERAL, ts, "dinner?")
        server.send_event({"type": "reaction_added", "user": ALICE, "event_ts": ts})
        await server.wait_until_settled()
        assert [len(delivery.attempts) for delivery in server.deliveries] == [1, 1, 1]
        assert bot.messages == []


async def test_slack_is_told_only_after_the_message_is_kept(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:
        bot.doors_open.clear()
        await server.say(ALICE, server.dm(ALICE), "hello")
        await wait_until(lambda: bool(server.deliveries[0].attempts), "it is sent")
        told = [delivery.acked for delivery in server.deliveries]
        bot.doors_open.set()
        await server.wait_until_settled()
        assert told == [False]
        assert server.deliveries[0].acked
        assert bot.messages


@needs_sockets
async def test_a_message_that_could_not_be_kept_comes_again(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:
        bot.failures = 1
        ts = await server.say(ALICE, server.dm(ALICE), "hello")
        await wait_until(lambda: not bot.failures, "it could not be kept")
        server.courier.ack_timeout = 60  # for the next attempts
        assert await server.answer(server.dm(ALICE), ts) == "You said: hello "
        await server.wait_until_settled()
        [delivery] = server.events("message")[:1]
        assert [attempt.failure for attempt in delivery.attempts] == ["timeout", None]


async def test_a_message_is_kept_and_acknowledged_while_the_web_api_is_limited(
    server: Slack, serving: Serve
) -> None:
    """Bolt's own order would call auth.test first, fail, acknowledge and drop the event."""
    async with serving(server, gated_answer()) as bot:
        server.fail("auth.test", error="ratelimited", times=99)
        await server.say(ALICE, server.dm(ALICE), "hello")
        await server.wait_until_settled()
        assert bot.messages
        assert server.count("auth.test") == 1


# --- sockets


@needs_sockets
async def test_events_on_a_socket_do_not_pass_through_bolt(
    server: Slack, serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes 700 function calls for each of them."""

    async def dispatch(app: AsyncApp, request: Any) -> None:
        pytest.fail(f"Bolt got {request.body}")

    monkeypatch.setattr(AsyncApp, "async_dispatch", dispatch)
    async with serving(server):
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        await server.answer(GENERAL, ts)
        await server.wait_until_settled()
    assert all(delivery.acked for delivery in server.deliveries)


async def test_nothing_is_lost_while_slack_replaces_a_socket(server: Slack, serving: Serve) -> None:
    server.courier.ack_timeout = 60
    async with serving(server) as bot:
        await server.disconnect(every=False)
        await server.say(ALICE, server.dm(ALICE), "hello")
        await bot.wait_for_messages()
        await server.wait_for_connections(2)
        await server.wait_until_settled()
        assert len(server.events("message")[0].attempts) == 1


@needs_sockets
async def test_a_start_requests_one_address_for_each_socket(server: Slack, serving: Serve) -> None:
    """Slack allows a limited number a minute, which processes that restart in quick succession share."""
    async with serving(server):
        assert server.count("apps.connections.open") == SOCKETS


async def test_sockets_that_break_are_opened_again(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:
        server.drop_sockets()
        await wait_until(lambda: not server.sockets, "the sockets are gone")
        await server.wait_for_connections(2)
        await server.say(ALICE, server.dm(ALICE), "hello")
        await bot.wait_for_messages()


@needs_sockets
async def test_a_socket_that_tries_an_expired_address_gets_a_new_one(server: Slack, serving: Serve) -> None:
    async with serving(server):
        server.socket_mode.ticket_lifetime = -1
        server.drop_sockets()
        await wait_until(lambda: server.socket_mode.refused_handshakes > 2, "the address is refused")
        server.socket_mode.ticket_lifetime = 30
        await server.wait_for_connections(2)


async def test_when_no_socket_comes_back_all_is_built_anew(server: Slack, connected: Connect) -> None:
    async with connected(server, timing=replace(TIMING, down_after=0.3)) as platform:
        bot = Bot(platform, echo, asyncio.TaskGroup())
        receiving = asyncio.create_task(platform.receive(bot.deliver, COMMANDS))
        await server.wait_for_connections(2)
        server.socket_mode.closed_to_all = True
        server.drop_sockets()
        with pytest.raises(Unreachable, match="no socket"):
            await receiving
        assert (await platform.health()).state == "down"
        server.socket_mode.closed_to_all = False
        receiving = asyncio.create_task(platform.receive(bot.deliver, COMMANDS))
        await server.wait_for_connections(2)
        receiving.cancel()
        await asyncio.wait([receiving])


async def test_nothing_of_a_connection_is_left_when_it_ends(server: Slack, serving: Serve) -> None:
    async with serving(server):
        await server.disconnect()
        await server.wait_for_connections(2)
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
    server: Slack, setting: str, token: str, variable: str, connected: Connect
) -> None:
    wrong: dict[str, Any] = {setting: token}
    async with connected(server, **wrong) as platform:
        with pytest.raises(CredentialsRejected, match=rf"{variable} at .*invalid_auth") as caught:
            await platform.receive(Bot(platform, echo, asyncio.TaskGroup()).deliver, COMMANDS)
    assert "\n" not in str(caught.value)
    assert token not in str(caught.value)
    server.violations.clear()  # the wrong token


@pytest.mark.parametrize("outage", ["unreachable", "broken"])
async def test_a_slack_that_is_away_is_unreachable(server: Slack, outage: Any, connected: Connect) -> None:
    server.outage = outage
    async with connected(server) as platform:
        with pytest.raises(Unreachable, match=r"auth\.test"):
            await platform.receive(Bot(platform, echo, asyncio.TaskGroup()).deliver, COMMANDS)


async def test_slack_needs_a_way_to_tell_who_is_calling(server: Slack, connected: Connect) -> None:
    """Without a secret anyone could post signed events to the endpoint."""
    with pytest.raises(ValueError, match="signing secret"):
        async with connected(server, app_token=None, signing_secret=""):
            pass
