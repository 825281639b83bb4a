"""Presence of the bot on Discord: the trouble that there is, in every session, and nothing else."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from redis.asyncio import Redis

from bot.chat import Health, Json
from bot.discord.texts import MODEL_DOWN
from tests.servers.discord.service import Discord
from tests.support import discord_platform
from tests.support.discord_platform import QUICK, Bot, bot_of, ends
from tests.support.wait import wait_until

server = discord_platform.server

TIMING = replace(QUICK, presence_interval=0.02)


@dataclass
class ModelHealth:
    """Health check of a model; implements `bot.chat.HealthCheck`."""

    name: str = "model"
    evidence: dict[str, Json] | None = field(default=None)

    async def health(self) -> Health:
        if self.evidence is None:
            return Health(name=self.name, state="ok")
        return Health(name=self.name, state="degraded", evidence=self.evidence)


@pytest.fixture
async def bot(server: Discord, redis: Redis) -> AsyncIterator[Bot]:
    """Yield a bot that does not listen yet."""
    async with bot_of(server, redis, timing=TIMING) as bot:
        yield bot


async def test_trouble_of_the_model_is_shown_also_after_a_reconnection(server: Discord, bot: Bot) -> None:
    """It quotes no service, and is over with the next call, or when nobody has asked for minutes."""
    model = ModelHealth()
    bot.commands = replace(bot.commands, model=model)
    async with bot.listen():
        await server.wait_for_connections()
        (session,) = server.sessions
        assert not session.presences
        model.evidence = {"last_call_s": 1.0, "last_error": "https://model.internal:8080 said no"}
        await wait_until(lambda: session.presence == MODEL_DOWN, "the model fails")
        server.reconnect_gateway()
        await wait_until(lambda: session.resumes == 1, "resumed")
        await wait_until(lambda: len(session.presences) == 2, "shown again")
        assert session.presence == MODEL_DOWN
        server.invalidate_sessions(resumable=False)
        await wait_until(lambda: len(server.sessions) == 2, "a new session")
        session = server.sessions[-1]
        await wait_until(lambda: session.presence == MODEL_DOWN, "shown there")
        model.evidence |= {"last_call_s": 301.0}
        await wait_until(lambda: session.presence == "", "nobody has asked since")
        model.evidence |= {"last_call_s": 1.0, "rate_limited_s": 90}
        pattern = re.compile(r"Rate limited until \d\d:\d\d UTC")
        await wait_until(lambda: bool(pattern.fullmatch(session.presence)), "the limit is shown")
        assert session.presences[-1][1]["status"] == "dnd"
        model.evidence = None
        await wait_until(lambda: session.presence == "", "all is well")
        assert session.presences[-1][1]["status"] == "online"
    assert not server.violations


async def test_a_health_check_that_fails_does_not_end_the_connection(server: Discord, bot: Bot) -> None:
    model = ModelHealth(evidence={"rate_limited_s": 1e300})
    bot.commands = replace(bot.commands, model=model)
    async with bot.listen():
        await server.wait_for_connections()
        await server.say(server.alice, server.dm(server.alice), "hello")
        await server.answer(server.dm(server.alice), ends("hello"))
        (session,) = server.sessions
        model.evidence = {"last_call_s": 1.0}
        await wait_until(lambda: session.presence == MODEL_DOWN, "the check works again")
