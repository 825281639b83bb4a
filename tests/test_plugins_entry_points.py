"""Installed packages as plug-ins: real entry points, of a package in a directory of its own."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.tools.errors import ToolFailure
from bot.tools.waiting import GuardedTool
from tests.support.plugins import (
    call_tool,
    is_up,
    report,
    start_plugins,
)
from tests.support.wait import wait_until

MODULE = '''
import asyncio, sys, time
from contextlib import asynccontextmanager
from langchain_core.tools import tool

LOG = []

@tool
def stock(item: str) -> str:
    """How many there are."""
    return f"7 {item}"

@tool
async def slow() -> str:
    """Never answers."""
    await asyncio.Event().wait()

@tool
def stuck() -> str:
    """Blocks its thread."""
    time.sleep(3600)

@tool
def leave() -> str:
    """Wants to end the program."""
    sys.exit(3)

@tool
def broken() -> str:
    """Raises."""
    raise RuntimeError("a secret detail")

@tool
async def cancels() -> str:
    """Lets a task of its own be cancelled."""
    task = asyncio.create_task(asyncio.sleep(3600))
    task.cancel()
    await task

async def nothing(**_): return "a text, and no preview"

def good(): return [stock, slow, stuck, leave, broken, cancels]

def guarded():
    from bot.tools import GuardedTool
    return [GuardedTool.from_function(coroutine=nothing, name="odd", description="Odd.", preview=nothing)]

@asynccontextmanager
async def connected():
    LOG.append("opened")
    try:
        yield [stock]
    finally:
        LOG.append("closed")

def rubbish(): return "no tools"
async def coroutine(): return [stock]
def raises(): raise ValueError("no")
def exits(): sys.exit(1)
def hangs(): time.sleep(3600)
number = 7
'''
NAMES = "good guarded connected rubbish coroutine raises exits hangs number"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with entry points."""
    package = tmp_path / "site"
    info = package / "shopkit-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "shopkit.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shopkit\nVersion: 1.0\n")
    points = [f"{name} = shopkit:{name}" for name in NAMES.split()]
    lines = ["[bot.tools]", *points, "absent = no_such_module:tools"]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(package)
    monkeypatch.delitem(sys.modules, "shopkit", raising=False)


@pytest.mark.usefixtures("installed")
async def test_what_is_installed_is_used_only_when_it_is_named(redis: Redis) -> None:
    """Installing a package gives the model nothing; naming its entry point does."""
    async with start_plugins(redis, {}) as plugins:
        assert not list(plugins.toolbox)
    async with start_plugins(redis, {}, "good") as plugins:
        assert await call_tool(plugins, "good__stock", item="apples") == "7 apples"
        assert "invalid arguments" in await call_tool(plugins, "good__stock", thing="apples")
        assert not any(isinstance(each, GuardedTool) for each in plugins.toolbox)


@pytest.mark.usefixtures("installed")
async def test_policy_of_an_entry_point(redis: Redis) -> None:
    """Allowed tools, those that wait for approval, the time-out."""
    text = '{"good": {"allow": ["st*"], "approval": ["stock"], "timeout": 0.5}}'
    async with start_plugins(redis, {}, text) as plugins:
        kinds = {each.name: isinstance(each, GuardedTool) for each in plugins.toolbox}
        assert kinds == {"good__stock": True, "good__stuck": False}
        assert "did not answer within 0.5 s" in await call_tool(plugins, "good__stuck")


@pytest.mark.usefixtures("installed")
async def test_whatever_a_tool_does_is_a_failure_with_words(redis: Redis) -> None:
    """It raises, ends the program, hangs, blocks; the loop goes on, and the details stay in the log."""
    async with start_plugins(redis, {}, '{"good": {"timeout": 0.5}}') as plugins:
        assert await call_tool(plugins, "good__broken") == (
            "failed: The tool failed with an internal error. The operator's log has more."
        )
        assert (await call_tool(plugins, "good__leave")).startswith("failed: The tool failed")
        assert (await call_tool(plugins, "good__cancels")).startswith("failed: The tool failed")
        slow = [call_tool(plugins, f"good__{name}") for name in ("slow", "stuck", "stuck")]
        assert all("did not answer" in each for each in await asyncio.gather(*slow))
        assert await call_tool(plugins, "good__stock", item="pears") == "7 pears"


@pytest.mark.usefixtures("installed")
async def test_a_call_that_is_cancelled_from_outside_is_cancelled(redis: Redis) -> None:
    """A stop is no failure of the tool."""
    async with start_plugins(redis, {}, "good") as plugins:
        call = asyncio.create_task(call_tool(plugins, "good__slow"))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.usefixtures("installed")
async def test_a_preview_that_cannot_be_shown_is_a_failure_with_words(redis: Redis) -> None:
    """Fault: what was no preview, or was nested too deeply to be written, ended the turn."""
    nested: Any = []
    for _ in range(2_000):
        nested = [nested]
    async with start_plugins(redis, {}, '{"guarded": {}, "good": {"approval": true}}') as plugins:
        tools = {each.name: each for each in plugins.toolbox}
        odd, stock = tools["guarded__odd"], tools["good__stock"]
        assert isinstance(odd, GuardedTool)
        assert isinstance(stock, GuardedTool)
        with pytest.raises(ToolFailure, match="with an internal error"):
            await odd.preview_call({})
        with pytest.raises(ToolFailure, match="Do it in smaller steps"):
            await stock.preview_call({"item": nested})


@pytest.mark.usefixtures("installed")
async def test_calls_that_block_use_up_no_more_than_their_share_of_threads(redis: Redis) -> None:
    """The ninth is refused at once; the others have their time."""
    async with start_plugins(redis, {}, '{"good": {"timeout": 0.5}}') as plugins:
        told = await asyncio.gather(*(call_tool(plugins, "good__stuck") for _ in range(9)))
        assert [("busy with 8 other calls" in each) for each in told].count(True) == 1


@pytest.mark.usefixtures("installed")
async def test_a_context_manager_is_left_at_the_end(redis: Redis) -> None:
    """Resources that it has opened are closed."""
    async with start_plugins(redis, {}, "connected") as plugins:
        assert await call_tool(plugins, "connected__stock", item="plums") == "7 plums"
        assert sys.modules["shopkit"].LOG == ["opened"]
    assert sys.modules["shopkit"].LOG == ["opened", "closed"]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("rubbish", "gave str, not a list of LangChain tools"),
        ("coroutine", "gave coroutine, not a list of LangChain tools"),
        ("raises", "it failed with ValueError; the log has more"),
        ("exits", "it failed with Crashed; the log has more"),
        ("hangs", "it did not start within 1 s"),
        ("number", "its entry point is int, which cannot be called"),
        ("absent", "it failed with ModuleNotFoundError; the log has more"),
        ("unheard-of", "no installed package has an entry point unheard-of"),
    ],
)
async def test_a_faulty_one_is_reported_and_another_works(redis: Redis, name: str, reason: str) -> None:
    """Whatever is wrong with it, health says so."""
    async with start_plugins(redis, {}, f"{name},good", start_seconds=1) as plugins:
        await wait_until(lambda: _says(plugins, name, reason), "told", timeout=20)
        assert await is_up(plugins, "good")
        assert await call_tool(plugins, "good__stock", item="apples") == "7 apples"


async def _says(plugins: Any, name: str, reason: str) -> bool:
    return reason in await report(plugins, name)
