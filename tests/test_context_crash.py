"""Context after a crash: a repeated attempt gives the model what the first one has read."""

import asyncio
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.servers.model import KEY, ModelServer, Script
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.support.bot import fork_program
from tests.support.wait import wait_until


@pytest.fixture
def environ(
    redis: Redis, redis_url: str, database_url: str, tmp_path: Path, model: ModelServer, slack: Slack
) -> dict[str, str]:
    """Variables of a bot that is killed and started again."""
    return {
        **slack.environ,
        "REDIS_URL": redis_url,
        "DATABASE_URL": database_url,
        "DATA_DIR": str(tmp_path),
        "BOT_NAME": "bot",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": model.base_url,
    }


async def test_after_a_kill_between_reading_and_answering_the_model_gets_the_same(
    environ: dict[str, str], slack: Slack, model: ModelServer
) -> None:
    """The message is changed in between; the thread is not read again."""
    slack.tolerate("unfinished")
    model.script(Script(gate=asyncio.Event()), "Understood.")
    async with fork_program(environ) as bot:
        await bot.ready()
        root = await slack.say(BOB, GENERAL, "The printer is on fire.")
        await slack.say(ALICE, GENERAL, f"{slack.mention} what now?", thread_ts=root)
        await wait_until(lambda: len(model.requests) == 1, "the model is asked")
        await bot.stop(signal.SIGKILL)
    slack.edit(GENERAL, root, "Nothing is on fire.")
    async with fork_program(environ) as bot:
        await bot.ready()
        assert "Understood." in await slack.answer(GENERAL, root)
        assert await bot.stop() == 0
    first, second = (each["messages"] for each in model.requests)
    assert "bob: The printer is on fire." in first[-1]["content"]
    assert second == first


async def test_after_a_kill_while_a_thread_is_read_it_is_read_again(
    environ: dict[str, str], slack: Slack, model: ModelServer
) -> None:
    slack.tolerate("unfinished")
    model.script("Understood.")
    slack.slow("conversations.replies", 30)
    async with fork_program(environ) as bot:
        await bot.ready()
        root = await slack.say(BOB, GENERAL, "The printer is on fire.")
        await slack.say(ALICE, GENERAL, f"{slack.mention} what now?", thread_ts=root)
        await wait_until(lambda: slack.count("conversations.replies") == 1, "the thread is read")
        await bot.stop(signal.SIGKILL)
    async with fork_program(environ) as bot:
        await bot.ready()
        assert "Understood." in await slack.answer(GENERAL, root)
        assert await bot.stop() == 0
    assert model.requests[0]["messages"][-1]["content"].count("The printer is on fire.") == 1
