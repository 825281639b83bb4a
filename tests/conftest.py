"""Real servers for the tests: Redis and Postgres once a session; a model, Slack and Discord a test."""

import asyncio
import importlib
import os
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import settings
from redis.asyncio import Redis

import bot.main  # noqa: F401 - registers all platforms, as the program does
from bot.concurrency import garbage
from bot.storage.client import open_redis
from bot.storage.embedded import embedded_postgres, embedded_redis
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer, model_server
from tests.servers.slack.service import Slack
from tests.support.table import Shelf, a_shelf

# The same examples in every run; HYPOTHESIS_PROFILE=search looks for new ones. A shared machine has no even
# pace, so no example has a deadline.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.fixture(scope="session", autouse=True)
def temp_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the session a temp folder of its own: a bot that is killed leaves its sockets' folder there."""
    tmp_path_factory.getbasetemp()  # stays where it is, for a look at what a failed test left
    get_temp_dir()  # multiprocessing removes it when this process ends
    with (
        tempfile.TemporaryDirectory(prefix="t", ignore_cleanup_errors=True) as directory,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TMPDIR", directory)
        patch.setattr(tempfile, "tempdir", directory)
        yield


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the session's embedded servers."""
    return tmp_path_factory.mktemp("data")


@pytest_asyncio.fixture(scope="session")
async def redis_url(data_dir: Path) -> AsyncIterator[str]:
    """Yield the URL of a real Redis with JSON and Search."""
    async with embedded_redis(data_dir) as url:
        yield url


@pytest_asyncio.fixture(scope="session")
async def database_url(data_dir: Path) -> AsyncIterator[str]:
    """Yield the DSN of a real Postgres with the sample database, for the role that only reads."""
    async with embedded_postgres(data_dir) as dsn:
        yield dsn


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """Yield the bot's own client on an empty Redis."""
    async with open_redis(redis_url, pool_size=20) as client:
        await client.flushall()
        yield client


@pytest_asyncio.fixture
async def model() -> AsyncIterator[ModelServer]:
    """Yield an OpenAI-compatible server; the test fails if it had to refuse a request."""
    async with model_server() as server:
        yield server
        assert not server.violations


@pytest_asyncio.fixture
async def slack() -> AsyncIterator[Slack]:
    """Yield a Slack server; the test fails if it had to refuse a request."""
    async with Slack(ack_timeout=1, redelivery_delays=(0.2, 0.5, 1)) as server:
        yield server
        assert not server.violations


@pytest_asyncio.fixture
async def discord() -> AsyncIterator[Discord]:
    """Yield a Discord server without pauses between sessions; the test fails if it refused a request."""
    async with Discord() as server:
        server.starts.seconds = 0.1
        yield server
        assert not server.violations


@pytest.fixture
def storage(redis: Redis, redis_url: str, database_url: str) -> dict[str, Any]:
    """Settings of the session's servers; Redis is empty."""
    return {"redis_url": redis_url, "database_url": database_url}


@pytest_asyncio.fixture
async def shelf(database_url: str) -> AsyncIterator[Shelf]:
    """A table that may be changed."""
    async with a_shelf(database_url) as made:
        yield made


def pytest_configure() -> None:
    """Run the tests on Python's event loop, which can be observed, or with TEST_EVENT_LOOP=uvloop on that.

    Programs that tests start run on uvloop anyway, and what differs is tested on both.
    """
    if os.environ.get("TEST_EVENT_LOOP") == "uvloop":
        asyncio.set_event_loop_policy(importlib.import_module("uvloop").EventLoopPolicy())


LONGEST_FIRST = (
    *("test_crash_points", "test_storm", "test_crash_approvals", "test_program", "test_linear_time"),
    *("test_plugins_mcp", "test_start", "test_redis_confinement", "test_sql_redteam", "test_sentinel"),
    *("test_slack_recovery", "test_redis_faults", "test_watchdog", "test_tools_sql_queries", "test_bot"),
)
"""Slowest files: started last, one of them would keep a process waiting for the others."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage meanwhile, nor ever look through the modules and thousands of tests again."""
    garbage.pause()
    try:
        return (yield)
    finally:
        garbage.resume()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files; the order within a file does not change."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
