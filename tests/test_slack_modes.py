"""HTTP mode and Socket Mode: the same deliveries have the same effect.

Each story runs in both. TEST_SLACK_MODE=http runs all other tests of Slack in HTTP mode, too.
"""

import asyncio
from typing import Any

import pytest

from bot.chat import Correction, Event, Stop, Withdrawal
from bot.commands import ask_texts, home_texts
from bot.platforms.answers import REASON
from tests.servers.model import ModelServer, Script
from tests.servers.slack.delivery import Delivery
from tests.servers.slack.rules import visible_text
from tests.servers.slack.service import ALICE, BOB, GENERAL, TEAM, Slack
from tests.support import slack_platform
from tests.support.bot import run_bot
from tests.support.settings import of_model, of_slack
from tests.support.slack_platform import Serve, gated_answer
from tests.support.wait import wait_until

serving = slack_platform.serve
server = slack_platform.server


@pytest.fixture(params=["sockets", "http"], autouse=True)
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test in both modes."""
    monkeypatch.setenv("TEST_SLACK_MODE", request.param)
    return str(request.param)


def sent(delivery: Delivery) -> list[bool]:
    """Return for each attempt to deliver something if it was acknowledged."""
    return [attempt.failure is None for attempt in delivery.attempts]


def home(server: Slack) -> str:
    """Return what Alice sees on the Home tab."""
    return visible_text((server.home(ALICE) or {}).get("blocks", []))


async def test_each_kind_of_event_is_delivered_once_acknowledged(server: Slack, serving: Serve) -> None:
    """A mention arrives as two events, and here each of them twice: that is one message."""
    server.courier.ack_timeout = 60
    kinds: list[type[Event]] = []
    async with serving(server, gated_answer()) as bot:
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello", copies=2)
        await server.wait_until_settled()
        assert len(bot.messages) == 4
        assert len({each.id for each in bot.messages}) == 1
        steps = (
            lambda: server.edit(GENERAL, ts, f"{server.mention} good evening"),
            lambda: server.send_event(
                {
                    "type": "reaction_added",
                    "user": ALICE,
                    "reaction": "x",
                    "item": {"type": "message", "channel": GENERAL, "ts": ts},
                    "event_ts": ts,
                }
            ),
            lambda: server.stop(ALICE, GENERAL, ts),
            lambda: server.remove(GENERAL, ts),
        )
        for step in steps:
            step()
            await server.wait_until_settled()
            kinds.append(type(bot.events[-1]))
        assert [attempts for each in server.deliveries if (attempts := sent(each)) != [True]] == []
    assert kinds == [Correction, Stop, Stop, Withdrawal]


async def test_an_event_is_acknowledged_after_it_is_stored_and_comes_again_if_it_is_not(
    server: Slack, serving: Serve
) -> None:
    async with serving(server, gated_answer()) as bot:
        bot.failures = 2
        await server.say(ALICE, server.dm(ALICE), "hello")
        await server.wait_until_settled()
        assert sent(server.deliveries[0]) == [False, False, True]
        assert [each.text for each in bot.messages] == ["hello"]
        server.courier.ack_timeout = 60
        bot.doors_open.clear()
        await server.say(ALICE, server.dm(ALICE), "again")
        await wait_until(lambda: bool(server.deliveries[-1].attempts), "it is sent")
        await asyncio.sleep(0)
        assert not server.deliveries[-1].acked
        bot.doors_open.set()
        await server.wait_until_settled()
        assert sent(server.deliveries[-1]) == [True]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message", "channel_type": "im", "user": ALICE, "channel": {}, "ts": "1.0"},
        {"type": "message", "channel_type": "im", "user": [], "channel": "D1", "ts": "1.0"},
        {"type": "of_tomorrow", "event_ts": "1.0"},
        {},
    ],
    ids=str,
)
async def test_an_event_that_cannot_be_read_does_not_come_again(
    server: Slack, serving: Serve, event: dict[str, Any]
) -> None:
    server.courier.ack_timeout = 60
    async with serving(server) as bot:
        payload = {"type": "event_callback", "team_id": TEAM, "event": event, "event_id": "Ev1"}
        delivery = server.send_payload(payload)
        await delivery.ended.wait()
        assert sent(delivery) == [True]
        assert not bot.messages
        assert not bot.events


async def test_an_event_of_an_hour_ago_is_a_message(server: Slack, serving: Serve) -> None:
    """Slack delivers events for hours if the app asks for that; their signature is always new."""
    server.courier.ack_timeout = 60
    async with serving(server, gated_answer()) as bot:
        event = {"type": "message", "channel_type": "im", "user": ALICE, "channel": server.dm(ALICE)}
        server.send_message(event | {"text": "hello"}, event_time=1_700_000_000)
        await server.wait_until_settled()
        assert [each.text for each in bot.messages] == ["hello"]


async def test_the_whole_bot_is_used_in_the_same_way(
    storage: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Mentions, commands, buttons, forms, shortcuts, the Home tab and the stop button."""
    async with run_bot(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello", copies=2)
        assert "(message 1 of" in await slack.answer(GENERAL, ts)
        await slack.wait_until_settled()
        [reply] = slack.bot_replies(GENERAL, ts)
        assert (await slack.command("/agent-health", "", ALICE, GENERAL)).acked
        assert (await slack.press(ALICE, GENERAL, reply.ts, "details")).acked
        await wait_until(lambda: len(slack.ephemerals) > 0, "the details are shown")
        await slack.press(ALICE, GENERAL, reply.ts, "rate", "negative_button")
        await wait_until(lambda: bool(slack.modals), "the form for a reason is open")
        form = await slack.submit(slack.modals[-1], {REASON: "It is wrong."})
        assert not form.is_open
        written = await slack.say(BOB, GENERAL, "Which day is it?")
        question = await slack.shortcut(ask_texts.ASK_ABOUT, ALICE, (GENERAL, written))
        assert not (await slack.submit(question, {"question": "Tell me"})).is_open
        await slack.answer(GENERAL, written, until=lambda text: "Tell me" in text)
        slack.open_home(ALICE, "home")
        await wait_until(lambda: home_texts.USAGE in home(slack), "the tab is shown")
        gate = asyncio.Event()
        model.script(Script(text="Never shown.", gate=gate))
        before = len(model.requests)
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} count")
        await wait_until(lambda: len(model.requests) > before, "asked")
        slack.stop(ALICE, GENERAL, ts)
        await slack.wait_until_settled()
        gate.set()
        await slack.answer(GENERAL, ts)
        assert "Never shown." not in slack.transcript(GENERAL, ts)
        assert all(each.acked for each in slack.deliveries)
