"""Many workspaces of Slack in one process: `python -m benchmarks.workspaces [WORKSPACES]`.

Installations are written into the vault; then each workspace asks one question, then each is asked again. The
server for tests runs in the same process, so that counts are shown, and memory with the server's part of it.
"""

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from redis.asyncio import Redis

from bot.chat import Json
from bot.slack.installations import Installation
from bot.storage import vault as vaults
from bot.storage.embedded import embedded_postgres, embedded_redis
from bot.storage.vault import RedisVault
from tests.servers.slack.app import SlackApp, Tenant
from tests.servers.slack.service import ALICE, BOT, BOT_USER, GENERAL
from tests.support.slack_app import run_app, vault

AT_ONCE = 20
"""Questions that are asked side by side."""

READS: list[tuple[str, ...]] = []
"""Ids that were read from the vault, read by read; nothing stands for all."""


class CountedVault(RedisVault):
    """Vault that notes its reads."""

    async def read(self, *ids: str) -> Mapping[str, Mapping[str, Json]]:
        """Note the read."""
        READS.append(ids)
        return await super().read(*ids)


async def measure(workspaces: int) -> str:
    """Return the figures as a Markdown table."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        data = Path(directory)
        async with (
            embedded_redis(data) as redis_url,
            embedded_postgres(data) as database_url,
            SlackApp() as slack,
            Redis.from_url(redis_url) as redis,
        ):
            tenants = [slack.add_workspace(f"T0{number:06}") for number in range(workspaces)]
            stored = await _install(redis, slack, tenants)
            storage: dict[str, Any] = {"redis_url": redis_url, "database_url": database_url}
            began = time.monotonic()
            vaults.RedisVault = CountedVault  # type: ignore[misc]  # opened by the bot, which imports it late
            async with run_app(slack, **storage, max_workers=AT_ONCE, data_dir=data):
                started = time.monotonic() - began
                rows = [
                    ("seconds until the bot is ready", f"{started:.1f}"),
                    ("bytes of an installation in Redis", f"{stored:.0f}"),
                ]
                before = _rss()
                rows += await _round(slack, tenants, "first question")
                rows.append(("KiB of the process for a workspace", f"{(_rss() - before) / workspaces:.0f}"))
                rows += await _round(slack, tenants, "next question")
                rows += await _idle(redis, slack)
            rows.append(("calls of auth.test", str(slack.count("auth.test"))))
            rows.append(("violations of Slack's rules", str(len(slack.violations))))
    head = f"| {workspaces:,} workspaces | |\n|---|---|"
    return "\n".join([head, *(f"| {name} | {value} |" for name, value in rows)])


async def _install(redis: Redis, slack: SlackApp, tenants: list[Tenant]) -> float:
    """Write the installations as the bot does; return the bytes of one in Redis."""
    own = vault(redis)
    for tenant in tenants:
        team, token = tenant.workspace.team, f"xoxb-{tenant.workspace.team}-1"
        slack.web_api.tokens[token] = "bot"
        slack.web_api.workspaces[token] = tenant.workspace
        installation = Installation(
            id=team, name=team, url="", bot_token=token, bot_id=BOT, bot_user_id=BOT_USER, installed_at=1.0
        )
        await own.write(team, asdict(installation))
    used: Any = await redis.memory_usage("{bot}:vault:slack", samples=0)
    return float(used) / len(tenants)


async def _round(slack: SlackApp, tenants: list[Tenant], name: str) -> list[tuple[str, str]]:
    """Ask in each workspace; return the counts for one question."""
    room = asyncio.Semaphore(AT_ONCE)

    async def ask(tenant: Tenant) -> None:
        async with room:
            ts = await tenant.say(ALICE, GENERAL, f"{tenant.mention} hello")
            await tenant.answer(GENERAL, ts, timeout=300)

    calls, reads = len(slack.calls), len(READS)
    await asyncio.gather(*map(ask, tenants))
    await slack.wait_until_settled(300)
    return [
        (f"calls of Slack for the {name}", f"{(len(slack.calls) - calls) / len(tenants):.1f}"),
        (f"reads of the vault for the {name}", f"{(len(READS) - reads) / len(tenants):.2f}"),
    ]


async def _idle(redis: Redis, slack: SlackApp) -> list[tuple[str, str]]:
    """Return what the process does in ten seconds in which nothing happens."""
    gc.collect()
    calls, before = len(slack.calls), sum((await _commands(redis)).values())
    cpu = psutil.Process().cpu_times()
    await asyncio.sleep(10)
    after, now = sum((await _commands(redis)).values()), psutil.Process().cpu_times()
    return [
        ("commands of Redis a second without questions", f"{(after - before) / 10:.0f}"),
        ("calls of Slack a second without questions", f"{(len(slack.calls) - calls) / 10:.1f}"),
        ("% of a core without questions", f"{10 * (now.user + now.system - cpu.user - cpu.system):.0f}"),
    ]


async def _commands(redis: Redis) -> dict[str, int]:
    stats: Any = await redis.info("commandstats")
    return {name: int(each["calls"]) for name, each in stats.items()}


def _rss() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workspaces", description=__doc__)
    parser.add_argument("workspaces", nargs="?", type=int, default=1_000)
    print(asyncio.run(measure(max(1, parser.parse_args().workspaces))))
