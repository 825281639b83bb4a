"""Redis behind Sentinels: the bot finds the master, and follows it when another takes over."""

import asyncio
import contextlib
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from bot.chat import StorageDown
from bot.storage.client import check_redis, open_redis
from bot.storage.embedded.redis import RedisBuild, installed_builds
from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support.bot import run_bot
from tests.support.settings import of_model, of_slack
from tests.support.wait import wait_until

PASSWORD = "p@ss"


def a_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Replicated:
    """A master, a replica and a Sentinel that watches them."""

    url: str
    sentinel_port: int
    processes: dict[int, subprocess.Popen[bytes]]

    async def master(self) -> int:
        """The port of the one in charge."""
        async with Redis(port=self.sentinel_port) as sentinel:
            address: Any = await sentinel.sentinel_get_master_addr_by_name("bot")
        return int(address[1])

    async def kill_master(self) -> None:
        """Kill the one in charge, and wait until the other one is."""
        before = await self.master()
        self.processes[before].send_signal(signal.SIGKILL)
        await wait_until(lambda: self._moved_from(before), "the replica has taken over", timeout=30)

    async def _moved_from(self, port: int) -> bool:
        return await self.master() != port


@pytest_asyncio.fixture
async def replicated(tmp_path: Path) -> AsyncIterator[Replicated]:
    build = next(filter(RedisBuild.is_complete, installed_builds()))
    first, second, watcher = a_free_port(), a_free_port(), a_free_port()
    modules = [word for module in build.modules for word in ("--loadmodule", str(module))]
    auth = ["--requirepass", PASSWORD, "--masterauth", PASSWORD]
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {watcher}\nbind 127.0.0.1\ndir {tmp_path}\n"
        f"sentinel monitor bot 127.0.0.1 {first} 1\nsentinel auth-pass bot {PASSWORD}\n"
        "sentinel down-after-milliseconds bot 500\nsentinel failover-timeout bot 5000\n"
    )
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([build.server, *arguments], stdout=subprocess.DEVNULL, cwd=tmp_path)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        common = ["--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", "0", *auth, *modules]
        processes = {
            first: start("--port", str(first), *common),
            second: start("--port", str(second), "--replicaof", f"127.0.0.1 {first}", *common),
        }
        await wait_until(lambda: is_replica(second), "the replica follows", timeout=20)
        start(str(config), "--sentinel")
        await wait_until(lambda: knows_replica(watcher), "the Sentinel knows both", timeout=20)
        url = f"redis+sentinel://:p%40ss@127.0.0.1:{a_free_port()},127.0.0.1:{watcher}/bot"
        yield Replicated(url, watcher, processes)


async def is_replica(port: int) -> bool:
    try:
        async with Redis(port=port, password=PASSWORD, retry=Retry(NoBackoff(), 0)) as redis:
            return bool((await redis.info("replication")).get("master_link_status") == "up")
    except RedisError:
        return False


async def knows_replica(port: int) -> bool:
    try:
        async with Redis(port=port, retry=Retry(NoBackoff(), 0)) as sentinel:
            replicas: Any = await sentinel.sentinel_slaves("bot")
            return len(replicas) == 1
    except RedisError:
        return False


async def test_the_client_follows_the_master(replicated: Replicated) -> None:
    """Also with more requests at once than connections, and though a Sentinel of the list is away."""
    await check_redis(replicated.url)
    async with open_redis(replicated.url, pool_size=3) as redis:
        await redis.set("key", "value")
        assert await redis.wait(1, 5000) == 1
        await replicated.kill_master()
        assert await asyncio.gather(*(redis.get("key") for _ in range(20))) == [b"value"] * 20
        assert await redis.set("key", "other")


async def test_an_answer_outlives_a_failover(
    replicated: Replicated, database_url: str, model: ModelServer, slack: Slack
) -> None:
    """The thread's memory is on the replica."""
    settings: dict[str, Any] = {"redis_url": replicated.url, "database_url": database_url}
    async with run_bot(**settings, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} before")
        await slack.answer(GENERAL, ts)
        await replicated.kill_master()
        await slack.say(ALICE, GENERAL, "after", thread_ts=ts)
        answered = "You wrote: after (message 2"
        await wait_until(lambda: answered in slack.transcript(GENERAL, ts), "answered", timeout=30)
        await wait_until(lambda: not slack.unfinished(), "finished")


async def test_sentinels_that_know_no_master_are_told(replicated: Replicated) -> None:
    with pytest.raises(StorageDown, match="REDIS_URL"):
        await check_redis(replicated.url.removesuffix("bot") + "other")
