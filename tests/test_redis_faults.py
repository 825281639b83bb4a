"""Faults of Redis while people talk with the bot: they see a late answer, never none, never two."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bot.app import Bot, Intervals
from bot.storage.client import open_redis
from bot.storage.embedded import embedded_redis
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support import bot as support
from tests.support.bot import http_port
from tests.support.platforms import platforms_with
from tests.support.settings import of_discord, of_model, of_slack
from tests.support.wait import wait_until

running = partial(support.run_bot, platforms_with(catch_up_seconds=0.1), Intervals(restore=0.2))


@dataclass(frozen=True)
class OwnRedis:
    """A Redis that a test may maltreat; its supervisor starts it again when it has died."""

    url: str
    client: Redis
    directory: Path

    async def pid(self) -> int:
        return int((await self.client.info("server"))["process_id"])

    async def replace_by_an_empty_one(self) -> None:
        """As in a failover to a server that has none of the data."""
        pid = await self.pid()
        os.kill(pid, signal.SIGSTOP)
        shutil.rmtree(self.directory / "redis" / "appendonlydir")
        os.kill(pid, signal.SIGKILL)


@pytest_asyncio.fixture
async def own(tmp_path: Path) -> AsyncIterator[OwnRedis]:
    async with embedded_redis(tmp_path) as url, open_redis(url, pool_size=5) as client:
        yield OwnRedis(url, client, tmp_path)


@pytest.fixture
def storage(own: OwnRedis, database_url: str) -> dict[str, Any]:
    return {"redis_url": own.url, "database_url": database_url}


async def wait_for_cursor(own: OwnRedis, source: str) -> None:
    await wait_until(lambda: _has_cursor(own, source), f"{source} is heard")


async def _has_cursor(own: OwnRedis, source: str) -> bool:
    return await own.client.zscore("{bot}:heard", source) is not None


async def test_an_answer_under_way_outlives_a_redis_that_comes_back_empty(
    own: OwnRedis, storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """It is finished in its own message; what waits behind it is answered, and the thread goes on."""
    slack.tolerate("streaming_state_conflict")
    async with running(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        model.script(Script(text="One two " + "three " * 300, pace=0.05))
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} first")
        await wait_until(lambda: bool(slack.bot_replies(GENERAL, ts)), "the answer has begun")
        await slack.say(ALICE, GENERAL, "second", thread_ts=ts)
        await slack.wait_until_settled()
        await own.replace_by_an_empty_one()
        answered = "You wrote: second"
        await wait_until(lambda: answered in slack.transcript(GENERAL, ts), "answered", timeout=30)
        await wait_until(lambda: not slack.unfinished(), "finished")
        await slack.say(ALICE, GENERAL, "third", thread_ts=ts)
        await wait_until(lambda: "You wrote: third" in slack.transcript(GENERAL, ts), "goes on")
        shown = [each.visible_text for each in slack.replies(GENERAL, ts) if each.from_bot]
    assert sum("first" in each or "second" in each for each in shown) == len(shown) - 1
    assert sum("three" in each for each in shown) == 0, "no half of the first attempt stays"


async def test_what_was_answered_is_not_answered_again_by_an_empty_redis(
    own: OwnRedis, storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """Also when the history is read to close a gap: the duplicate filter is gone, the process is not."""
    async with running(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        await wait_for_cursor(own, "slack:T0TEAM00001")
        old = await slack.say(ALICE, GENERAL, f"{slack.mention} old")
        await slack.answer(GENERAL, old)
        pid = await own.pid()
        os.kill(pid, signal.SIGSTOP)
        missed = await slack.say(ALICE, GENERAL, f"{slack.mention} missed", copies=1)
        await slack.wait_until_settled()
        shutil.rmtree(own.directory / "redis" / "appendonlydir")
        os.kill(pid, signal.SIGKILL)
        assert "missed" in await slack.answer(GENERAL, missed, timeout=30)
    assert len(slack.bot_replies(GENERAL, old)) == len(slack.bot_replies(GENERAL, missed)) == 1
    assert len(model.requests) == 2


async def test_a_full_redis_takes_nothing_and_loses_nothing(
    own: OwnRedis, storage: dict[str, Any], model: ModelServer, slack: Slack, discord: Discord
) -> None:
    """Slack is not told that a message was taken; when there is memory again, both platforms are answered."""
    async with running(**storage, **of_model(model), **of_slack(slack), **of_discord(discord)) as bot:
        await slack.wait_for_connections()
        await discord.wait_for_connections()
        await wait_for_cursor(own, "slack:T0TEAM00001")
        await wait_for_cursor(own, "discord:0/1")
        await own.client.config_set("maxmemory", 1)
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} on Slack")
        asked = await discord.say(discord.alice, discord.general, f"{discord.mention} on Discord")
        await slack.wait_until_settled()
        assert not any(each.acked for each in slack.deliveries if each.event["type"] == "app_mention")
        assert await readiness(bot) == 503
        await own.client.config_set("maxmemory", 0)
        await wait_until(lambda: "on Slack" in slack.transcript(GENERAL, ts), "answered on Slack", timeout=30)
        thread = await discord.thread_of(asked)
        await discord.answer(thread, lambda shown: "on Discord" in shown[-1].content)
        await wait_until(lambda: _is_ready(bot), "ready again")
    assert len(model.requests) == 2


async def test_a_redis_that_hangs_is_told_by_readyz_and_costs_no_message(
    own: OwnRedis, storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """Slack is told nothing meanwhile, and repeats; the answer is late."""
    async with running(**storage, **of_model(model), **of_slack(slack)) as bot:
        await slack.wait_for_connections()
        pid = await own.pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello", copies=1)
            await slack.wait_until_settled()
            assert not any(each.acked for each in slack.deliveries)
            assert await readiness(bot) == 503
        finally:
            os.kill(pid, signal.SIGCONT)
        assert "hello" in await slack.answer(GENERAL, ts)
        await wait_until(lambda: _is_ready(bot), "ready again")
    assert len(model.requests) == 1


async def _is_ready(bot: Bot) -> bool:
    return await readiness(bot) == 200


async def readiness(bot: Bot) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{http_port(bot)}/readyz") as response,
    ):
        return response.status


async def test_a_policy_that_evicts_is_told_at_start_and_in_health(
    own: OwnRedis, storage: dict[str, Any], model: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory that is evicted is forgotten without an error."""
    await own.client.config_set("maxmemory-policy", "allkeys-lru")
    async with running(**storage, **of_model(model)) as bot:
        await bot.warn()
        parts = {part.name: part for part in await bot.check_health()}
    assert parts["redis"].state == "degraded"
    assert parts["redis"].evidence["maxmemory_policy"] == "allkeys-lru"
    assert any(getattr(record, "maxmemory_policy", "") == "allkeys-lru" for record in caplog.records)


async def test_killed_redis_costs_neither_answer_nor_message(
    own: OwnRedis, storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """Kill -9 in the middle of an answer: Redis is started again with its data, and the answer goes on."""
    gate = asyncio.Event()
    async with running(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        model.script(Script(text="Done.", gate=gate))
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        await wait_until(lambda: len(model.requests) == 1, "asked")
        os.kill(await own.pid(), signal.SIGKILL)
        gate.set()
        assert await slack.answer(GENERAL, ts, timeout=20) == "Done."
    assert len(model.requests) == 1
