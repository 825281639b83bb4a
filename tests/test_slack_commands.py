"""Commands and health of Slack: answered to the caller alone, in time, with the evidence."""

import asyncio
import time
from dataclasses import replace

import aiohttp
import pytest

from bot.chat import Health, StorageDown
from bot.slack.responses import follow_up
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support import slack_platform
from tests.support.settings import needs_sockets
from tests.support.slack_platform import TIMING, Serve, gated_answer, healthy
from tests.support.wait import wait_until

hostile_environment = slack_platform.hostile_environment
serving = slack_platform.serve
server = slack_platform.server


async def test_the_health_command_answers_only_the_caller(server: Slack, serving: Serve) -> None:
    async with serving(server):
        command = await server.command("/agent-health", "", ALICE, GENERAL)
        assert command.acked
        [shown] = server.ephemerals
        assert (shown.user, shown.text) == (ALICE, "• 🟢 *redis* ok: ping ms 1")


async def test_a_slow_examination_is_answered_after_the_acknowledgement(
    server: Slack, serving: Serve
) -> None:
    finish = asyncio.Event()

    async def slowly() -> list[Health]:
        await finish.wait()
        return await healthy()

    async with serving(server, check_health=slowly, timing=replace(TIMING, ack_timeout=0.05)):
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


async def test_a_command_that_needs_a_store_which_is_down_gets_a_sentence(
    server: Slack, serving: Serve
) -> None:
    async def down(by: str, of_all: bool) -> str:
        raise StorageDown("Redis did not answer")

    async with serving(server, usage=down):
        await server.command("/agent-usage", "", ALICE, GENERAL)
        assert (
            server.ephemerals[0].text
            == "I cannot reach my storage at the moment. Please try again in a minute."
        )


async def test_an_unknown_command_gets_a_sentence(server: Slack, serving: Serve) -> None:
    async with serving(server):
        await server.command("/agent-dance", "", ALICE, GENERAL)
        assert (
            server.ephemerals[0].text
            == "I do not know the command /agent-dance. You can use: /agent-health, /agent-stop, /agent-usage"
        )


@needs_sockets
async def test_health_tells_the_sockets_and_the_last_event(server: Slack, serving: Serve) -> None:
    patient = replace(TIMING, probe_timeout=30)  # however busy the machine is
    began = time.monotonic()
    async with serving(server, gated_answer(), timing=patient) as bot:
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
            "user": "agent",
        }
        await server.say(ALICE, GENERAL, "lunch?")
        await server.wait_until_settled()
        last_event_s = (await bot.platform.health()).evidence["last_event_s"]
        assert 0 <= last_event_s <= time.monotonic() - began + 0.1
        server.socket_mode.closed_to_all = True
        server.sockets[0].drop()

        async def degraded() -> bool:
            return (await bot.platform.health()).state == "degraded"

        await wait_until(degraded, "one socket is missed")
    assert (await bot.platform.health()).state == "down"


async def test_health_tells_that_slack_rejects_the_token(server: Slack, serving: Serve) -> None:
    async with serving(server, gated_answer(), timing=replace(TIMING, probe_max_age=-1)) as bot:
        assert (await bot.platform.health()).state == "ok"
        server.revoke(server.bot_token)
        health = await bot.platform.health()
    assert health.state == "down"
    assert "SLACK_BOT_TOKEN" in health.evidence["error"]


async def test_health_asks_slack_once_a_minute(server: Slack, serving: Serve) -> None:
    async with serving(server, gated_answer()) as bot:
        await asyncio.gather(*(bot.platform.health() for _ in range(5)))
        await bot.platform.health()
    assert server.count("auth.test") == 2, "one to connect, one for all of these"


async def test_health_waits_for_slack_only_so_long(server: Slack, serving: Serve) -> None:
    async with serving(server, gated_answer(), timing=replace(TIMING, probe_timeout=0.05)) as bot:
        server.slow("auth.test", 1.0, times=99)
        health = await bot.platform.health()
        assert health.state == "degraded"
        assert "no answer" in health.evidence["error"]
