"""Plug-ins with the whole bot: called by the model, approved by a person, told of in health, killed."""

import asyncio
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from redis.asyncio import Redis

from tests.servers.model import KEY, ModelServer, Script
from tests.support.approvals import request_in, tool_results
from tests.support.bot import (
    ROOT,
    Program,
    fork_program,
    program,
    run_bot,
)
from tests.support.http_caller import Caller
from tests.support.plugins import SERVER, TOKEN, stdio
from tests.support.settings import of_model
from tests.support.wait import wait_until

DOCUMENT = Path(__file__).parent.parent / "docs" / "plugins.md"


@pytest.fixture
def settings(redis: Redis, redis_url: str, database_url: str, model: ModelServer) -> dict[str, Any]:
    return {
        "redis_url": redis_url,
        "database_url": database_url,
        "approvers": "http:api",
        **of_model(model),
    }


def offered_tools(model: ModelServer) -> list[str]:
    return [each["function"]["name"] for each in model.requests[-1]["tools"]]


async def test_a_tool_that_needs_no_approval_is_called_and_one_of_our_names_replaces_nothing(
    settings: dict[str, Any], model: ModelServer
) -> None:
    """The model is given both under names of their own; health tells of the plug-in."""
    servers = json.dumps({"shop": stdio(), "away": {"command": "/no/such", "approval": False}})
    async with run_bot(**settings, mcp_servers=servers) as bot, aiohttp.ClientSession() as session:
        model.script(Script(tool_calls=[("shop__add", {"a": 2, "b": 3})]), "It is 5.")
        assert (await Caller(bot, session).ask("2 + 3?")).endswith("It is 5.")
        assert tool_results(model) == ["5"]
        assert {"sql_query", "shop__sql_query"} <= set(offered_tools(model))
        assert "shop__extra" not in offered_tools(model)
        (health,) = [each for each in await bot.check_health() if each.name == "plugins"]
        assert health.state == "degraded"
        assert re.fullmatch(r"ok: 16 tools, last call \d+ s ago, 0 of 1 failed", str(health.evidence["shop"]))
        assert "down: its command was not found" in str(health.evidence["away"])
        # what it offers later is there at the next call of the model, and can be called
        model.script(Script(tool_calls=[("shop__change", {})]), "Changed.")
        await Caller(bot, session).ask("change")

        async def is_known() -> bool:
            await Caller(bot, session).ask("hello")
            return "shop__extra" in offered_tools(model)

        await wait_until(is_known, "the model is given the new tool")
        model.script(Script(tool_calls=[("shop__extra", {})]), "New.")
        assert (await Caller(bot, session).ask("try it", thread="t2")).endswith("New.")
        assert tool_results(model) == ["new"]


async def test_without_plugins_nothing_is_said_of_them(settings: dict[str, Any]) -> None:
    """Health has no such part."""
    async with run_bot(**settings) as bot:
        assert "plugins" not in [each.name for each in await bot.check_health()]


async def test_a_tool_that_needs_approval_runs_once_a_person_has_seen_its_arguments(
    settings: dict[str, Any], model: ModelServer, tmp_path: Path
) -> None:
    """By default. Shown as JSON; what nobody could read to its end, or at all, is not even asked."""
    notes = tmp_path / "notes"
    servers = json.dumps({"shop": stdio(approval=True, env={"NOTES": str(notes)})})
    async with run_bot(**settings, mcp_servers=servers) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        model.script(Script(tool_calls=[("shop__note", {"text": "buy milk"})]), "Noted.")
        asked = await caller.ask("note that")
        assert "Run shop__note" in asked
        assert '{\n  "text": "buy milk"\n}' in asked
        assert not notes.exists()
        status, told = await caller.decide(request_in(asked), approve=True)
        assert (status, told.endswith("Noted.")) == (200, True)
        assert tool_results(model) == ["noted buy milk"]
        assert notes.read_text() == "buy milk\n"
        for text, why in (
            ("x" * 1_600, "longer than the 1,500"),
            ("a\u202eb", "invisible character"),
            ("```", "code block"),
            ("delete from shelf where id = 17" + " " * 1_300 + "or true", "1300 blanks in a row"),
        ):
            model.script(Script(tool_calls=[("shop__note", {"text": text})]), "I cannot.")
            assert "approve" not in (await caller.ask("and this", thread=why))
            assert why in tool_results(model)[0]
        assert notes.read_text() == "buy milk\n"


async def test_a_bot_without_mcp_servers_does_not_import_their_client() -> None:
    """It takes seconds."""
    code = "import sys, bot.composition, bot.tools.plugins; print('mcp' in sys.modules)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert (await process.communicate())[0] == b"False\n"


@pytest.fixture
def own(tmp_path: Path, database_url: str, model: ModelServer) -> dict[str, str]:
    """The environment of a bot with a Redis of its own."""
    return {
        "DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": database_url,
        "APPROVERS": "http:api",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_MODEL": "main-model",
    }


async def post(bot: Program, path: str, body: dict[str, Any]) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{bot.port}{path}", json=body) as response,
    ):
        return str((await response.json())["response"])


async def test_a_call_that_was_cut_off_by_a_kill_is_not_made_again(
    own: dict[str, str], model: ModelServer, tmp_path: Path
) -> None:
    """The server ends with the bot that is killed, and the next start tells the model that nobody knows."""
    notes = tmp_path / "notes"
    servers = {"shop": stdio(approval=True, env={"NOTES": str(notes)}, timeout=300)}
    own |= {"MCP_SERVERS": json.dumps(servers)}
    model.script(Script(tool_calls=[("shop__note_and_hang", {"text": "buy milk"})]))
    async with fork_program(own) as bot:
        await bot.ready()
        asked = await post(bot, "/chat", {"message": "note that", "thread_id": "t"})
        deciding = asyncio.create_task(post(bot, f"/approvals/{request_in(asked)}", {"approve": True}))
        await wait_until(notes.exists, "the call is under way", timeout=20)
        children = psutil.Process(bot.process.pid).children(recursive=True)
        (server,) = [each for each in children if str(SERVER) in each.cmdline()]
        await bot.stop(signal.SIGKILL)
        await asyncio.wait([deciding])
        assert deciding.exception()
        await wait_until(lambda: not server.is_running(), "no orphan", timeout=20)
    model.script("Nobody knows.")
    async with fork_program(own) as bot:
        await bot.ready()
        await wait_until(lambda: len(model.requests) == 2, "answered", timeout=20)
        assert "the outcome is unknown" in tool_results(model)[0]
        assert await bot.stop() == 0
    assert notes.read_text() == "buy milk\n"


async def test_secrets_of_a_plugin_are_in_no_log(own: dict[str, str]) -> None:
    """Nor its own standard error, which is logged; at a stop its process ends before ours does."""
    servers = {
        "shop": stdio(env={"SECRET": "${SHOP_TOKEN}"}),
        "web": {"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": f"Bearer {TOKEN}"}},
    }
    own |= {"MCP_SERVERS": json.dumps(servers), "SHOP_TOKEN": "shop-secret-1", "DEBUG": "true"}
    async with fork_program(own) as bot:
        await bot.ready()
        (line,) = [each for each in bot.log_lines("plug-in output") if each["plugin"] == "shop"]
        assert line["line"] == "started with ***"
        children = psutil.Process(bot.process.pid).children(recursive=True)
        (server,) = [each for each in children if str(SERVER) in each.cmdline()]
        assert await bot.stop() == 0
        assert not server.is_running()
    assert not [each for each in bot.output if "shop-secret-1" in each or TOKEN in each]


def blocks(language: str) -> list[str]:
    """The code blocks of the document in that language."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


async def test_the_examples_of_the_documentation_work(
    own: dict[str, str], model: ModelServer, tmp_path: Path
) -> None:
    """The package as it is written there; the servers are as the settings want them."""
    servers, policy = blocks("json")
    site = tmp_path / "site"
    info = site / "warehouse-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "warehouse.py").write_text(blocks("python")[0])
    ((group, line),) = re.findall(r'entry-points\."(.+?)"\]\n(.+? = ".+?")', blocks("toml")[0])
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: warehouse\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")
    given = json.loads(servers)
    given["github"] |= {"command": sys.executable, "args": [str(SERVER), "stdio"], "allow": ["add"]}
    del given["wiki"]
    own |= {
        "PYTHONPATH": str(site),
        "TOOL_PLUGINS": policy,
        "MCP_SERVERS": json.dumps(given),
        "GITHUB_TOKEN": "ghp_0123456789",
    }
    model.script(
        Script(tool_calls=[("warehouse__stock", {"item": "apples"}), ("github__add", {"a": 1, "b": 1})]),
        "12 and 2.",
    )
    async with program(own) as bot:
        await bot.ready()
        assert (await post(bot, "/chat", {"message": "?", "thread_id": "t"})).endswith("12 and 2.")
        assert tool_results(model) == ["12", "2"]
        assert await bot.stop() == 0
