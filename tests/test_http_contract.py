"""The contract that the first users of HTTP rely on, to the letter, on the whole bot."""

import asyncio
import json
import re
import shlex
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.app import Bot
from tests.support.bot import ROOT, http_port, run_bot


@pytest.fixture
async def bot(redis: Redis, redis_url: str, database_url: str) -> AsyncIterator[Bot]:
    """A bot with the offline model, on an empty Redis."""
    async with run_bot(redis_url=redis_url, database_url=database_url) as it:
        yield it


def curl_lines(document: str) -> list[str]:
    """The command lines of a document that call the bot."""
    return re.findall(r"^curl .*localhost:8080.*$", (ROOT / document).read_text(), re.MULTILINE)


async def output_of(*command: str) -> tuple[int, str]:
    """Run a command; its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_every_curl_line_of_the_documents_works(bot: Bot) -> None:
    """As it stands there, except for the port and the token of this bot."""
    lines = [*curl_lines("README.md"), *curl_lines("docs/http.md")]
    assert len(lines) > 5
    for line in lines:
        here = line.replace("localhost:8080", f"127.0.0.1:{http_port(bot)}")
        code, printed = await output_of(*shlex.split(here), "--silent", "--show-error", "--fail-with-body")
        assert code == 0, (line, printed)
        assert json.loads(printed)["status"] in ("success", "healthy", "degraded", "ready", "alive"), line


async def test_the_load_script_has_a_hundred_chats_answered_and_tells_the_time(bot: Bot) -> None:
    url = f"http://127.0.0.1:{http_port(bot)}"
    code, printed = await output_of(sys.executable, "-m", "benchmarks.load", "--url", url, "--chats", "100")
    assert code == 0, printed
    assert "  100 answered" in printed
    assert re.fullmatch(r"100 chats at once took \d+\.\d\d s", printed.strip().splitlines()[-1])


async def test_the_load_script_fails_when_a_chat_is_not_answered() -> None:
    code, printed = await output_of(
        sys.executable, "-m", "benchmarks.load", "--url", "http://127.0.0.1:9", "--chats", "2"
    )
    assert code == 1
    assert "answered" not in printed


async def test_each_request_of_the_contract_is_answered_as_it_says(bot: Bot) -> None:
    """The answer must have these fields; there may be more beside them."""
    success = {"status": "success"}
    contract: list[tuple[str, dict[str, Any], int, dict[str, Any]]] = [
        ("/chat", {"message": "Hello", "thread_id": "test123"}, 200, success | {"thread_id": "test123"}),
        (
            "/redis/direct",
            {"operation": "set", "key": "test", "value": "hello"},
            200,
            success | {"message": "Stored `test`.", "operation": "set", "result": True},
        ),
        ("/redis/direct", {"operation": "get", "key": "test"}, 200, success | {"value": "hello"}),
        ("/redis/direct", {"operation": "set", "key": "test:2", "value": {"a": [1, None]}}, 200, success),
        ("/redis/direct", {"operation": "get", "key": "test:2"}, 200, {"value": {"a": [1, None]}}),
        (
            "/redis/direct",
            {"operation": "all", "pattern": "test:*"},
            200,
            success | {"result": {"test:2": {"a": [1, None]}}},
        ),
        ("/redis/direct", {"operation": "keys"}, 200, success | {"result": ["test", "test:2"]}),
        (
            "/redis/direct",
            {"operation": "delete", "key": "test"},
            200,
            success | {"message": "Deleted `test`.", "result": True},
        ),
        ("/redis/direct", {"operation": "get", "key": "test"}, 200, success | {"value": None}),
        ("/redis/direct", {"operation": "drop"}, 400, {"status": "error", "message": "Invalid operation"}),
    ]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{http_port(bot)}") as session:
        for path, body, status, expected in contract:
            async with session.post(path, json=body) as response:
                answer = await response.json()
            assert (response.status, answer | expected) == (status, answer), body
        async with session.get("/health") as response:
            health = await response.json()
        assert (response.status, health["status"]) == (200, "healthy")
        assert health["agent_status"]["redis"]["state"] == "ok"


def test_the_load_script_is_documented() -> None:
    assert "benchmarks.load" in Path(ROOT / "docs" / "performance.md").read_text()
