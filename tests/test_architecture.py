"""Who may import whom, which libraries stay in which folder, and what no file may do."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
BOT = TESTS.parent / "bot"
FILES = sorted(BOT.rglob("*.py"))
MOST_LINES = 400


@dataclass(frozen=True, slots=True)
class Rule:
    """Rooms and libraries that a room may import beside the standard library and itself."""

    rooms: frozenset[str]
    libraries: frozenset[str]


def rule(rooms: str = "", libraries: str = "") -> Rule:
    return Rule(frozenset(rooms.split()), frozenset(libraries.split()))


# what speaks to another service stays where that service is spoken to
BOUND_LIBRARIES = rule(
    libraries="asyncpg discord langchain_core langchain_mcp_adapters langchain_openai langgraph mcp openai "
    "pglast redis redisvl slack_bolt slack_sdk structlog wordllama"
).libraries

PLATFORM = "chat commands commands.redis concurrency platforms"
"""Rooms that the folder of a chat platform sees."""

RULES = {
    "__main__": rule("main"),
    "main": rule("__version__ composition chat config"),
    "app": rule(
        "access.approvals chat commands concurrency config inbox platforms storage turn", "structlog"
    ),
    "turn": rule("chat"),
    "concurrency": rule("chat"),
    "config": rule(libraries="dotenv pydantic pydantic_settings structlog"),
    "chat": rule(),
    "platforms": rule(f"{PLATFORM} config discord http slack", "aiohttp pydantic yarl"),
    "slack": rule(PLATFORM, "aiohttp slack_bolt slack_sdk"),
    "discord": rule(f"{PLATFORM} discord.markdown", "aiohttp discord tenacity yarl"),
    "discord.markdown": rule("discord"),
    "http": rule(PLATFORM, "aiohttp pydantic pydantic_core yarl"),
    "inbox": rule("access chat concurrency inbox.scripts", "redis"),
    "inbox.scripts": rule(),
    "commands": rule("__version__ chat commands.redis"),
    "commands.redis": rule("chat"),
    "access": rule("chat commands config", "redis"),
    "access.approvals": rule("chat commands", "redis"),
    "agent": rule(
        "agent.models chat memory tools",
        "aiohttp langchain_core langgraph pydantic redis redisvl tenacity",
    ),
    "agent.models": rule(
        "agent chat tools", "aiohttp langchain_core langchain_openai pydantic tenacity yarl"
    ),
    "agent.attachments": rule("chat", "PIL chardet pypdf"),
    "memory": rule("agent chat commands concurrency inbox", "httpx2 openai pydantic redis redisvl wordllama"),
    "tools": rule("chat memory storage tools.charts tools.sql", "asyncpg langchain_core pydantic redis"),
    "tools.charts": rule("chat tools tools.sql", "matplotlib"),
    "tools.plugins": rule(
        "__version__ chat concurrency config tools",
        "anyio httpx langchain_core langchain_mcp_adapters mcp pydantic redis tenacity",
    ),
    "tools.sql": rule("chat tools", "asyncpg pglast tenacity"),
    "storage": rule("chat commands.redis config", "redis"),
    "storage.embedded": rule("chat", "asyncpg redis"),
}
ROOT = "composition"
"""Puts everything together: it sees all rooms, and only the command line sees it."""
MAY_NOT_BE_SEEN = frozenset({"composition", "main"})

MOST_ENTRIES = 18
"""Files and folders in bot/, beside `__init__.py` and `__main__.py`: each is a noun that a stranger knows."""


def room_of(name: str) -> str:
    """Return the folder, as `tools.sql` for `bot.tools.sql.guard`, or the root file of a module."""
    names = name.split(".")
    depth = next((n for n in range(min(3, len(names)), 1, -1) if BOT.joinpath(*names[1:n]).is_dir()), 2)
    return ".".join(names[1:depth]) or "__init__"


def module_of(path: Path) -> str:
    names = path.relative_to(BOT.parent).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" and len(names) > 2 else names)


def imported(source: str) -> Iterator[str]:
    """The names that a module imports, wherever in the file: `from bot import a` gives `bot.a`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def import_faults(module: str, source: str) -> list[str]:
    """The imports that the rule forbids to this module, each as a sentence."""
    return [f"{module} may not import {name}" for name in imported(source) if not is_allowed(module, name)]


def is_allowed(module: str, name: str) -> bool:
    if name.startswith("."):  # absolute imports only, so that the rule can be read off the line
        return False
    room, top = room_of(module), name.split(".")[0]
    if top in sys.stdlib_module_names:
        return True
    if top != "bot":
        return is_allowed_library(room, top)
    seen = room_of(name)
    if seen == room and seen not in MAY_NOT_BE_SEEN:
        return True
    if room == ROOT:
        return seen not in MAY_NOT_BE_SEEN
    # a folder without a rule is a new platform, and costs no change here
    return seen in (RULES[room].rooms if room in RULES else PLATFORM.split())


def is_allowed_library(room: str, library: str) -> bool:
    if room == ROOT:
        return library in {"langchain_core", "pydantic"}
    return library in RULES[room].libraries if room in RULES else library not in BOUND_LIBRARIES


def is_test_file(name: str) -> bool:
    return name.startswith("tests.test_")


def construct_faults(module: str, source: str) -> list[str]:
    """What no file may do: juggle event loops, block one, or catch what cannot be named."""
    faults: list[str] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr="get_event_loop" | "run_until_complete" as name):
                faults.append(f"{module}:{node.lineno} uses {name}")
            case ast.Attribute(value=ast.Name(id="time"), attr="sleep"):
                faults.append(f"{module}:{node.lineno} uses time.sleep")
            case ast.ImportFrom(module="time" | "asyncio" as origin, names=names):
                banned = {"time": {"sleep"}, "asyncio": {"get_event_loop"}}[origin]
                faults += [
                    f"{module}:{node.lineno} uses {origin}.{alias.name}"
                    for alias in names
                    if alias.name in banned
                ]
            case ast.ExceptHandler(type=None):
                faults.append(f"{module}:{node.lineno} has a bare except")
    return faults


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_file_keeps_the_rules(path: Path) -> None:
    """It imports what its part may see, does nothing that no file may do, and is short enough to read."""
    source, module = path.read_text(), module_of(path)
    faults = import_faults(module, source) + construct_faults(module, source)
    if source.count("\n") > MOST_LINES:
        faults.append(f"{module} has more than {MOST_LINES} lines: split it by idea")
    assert not faults


def test_no_file_imports_a_test_file() -> None:
    """What two test files need is in `tests/support/`."""
    files = sorted(TESTS.rglob("*.py"))
    names = [(path.name, name) for path in files for name in imported(path.read_text())]
    assert not [each for each in names if is_test_file(each[1])]


@pytest.mark.parametrize(
    "source", ["from tests.test_bot import chat", "import tests.test_bot", "from tests import test_bot"]
)
def test_an_import_of_a_test_file_is_seen(source: str) -> None:
    """The checker sees it in every form, and lets a support module pass."""
    assert [is_test_file(name) for name in imported(source)] == [True]
    assert not is_test_file("tests.support.bot.running")


def test_all_files_are_looked_at() -> None:
    """The walk finds each room that has a rule, and no other but the composition root."""
    assert {room_of(module_of(path)) for path in FILES} == RULES.keys() | {ROOT, "__init__"}


def test_the_root_can_be_read_at_a_glance() -> None:
    """The architecture is what `ls bot` shows."""
    entries = [each.name for each in BOT.iterdir() if not each.name.startswith("__")]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("bot.slack.events", "import bot.discord"),
        ("bot.slack.events", "from bot import discord"),
        ("bot.slack.events", "from ..discord import events"),
        ("bot.slack.events", "from . import api"),
        ("bot.slack.events", "def late():\n    from bot.inbox import Inbox"),
        ("bot.slack.events", "import discord"),
        ("bot.slack.events", "from langchain_core.messages import AIMessage"),
        ("bot.discord.events", "from slack_sdk import WebClient"),
        ("bot.discord", "import slack_bolt.async_app"),
        ("bot.http.auth", "from bot.config import Settings"),
        ("bot.http.auth", "from bot.turn import Turns"),
        ("bot.telegram.platform", "import bot.slack"),
        ("bot.telegram.platform", "from bot.agent import open_agent"),
        ("bot.telegram.platform", "import discord"),
        ("bot.turn", "import discord"),
        ("bot.turn", "from bot.slack.events import parse"),
        ("bot.chat", "import pydantic"),
        ("bot.chat", "from bot.commands.commands import Commands"),
        ("bot.config", "from bot.chat import Health"),
        ("bot.config", "import redis"),
        ("bot.tools.charts.plot", "import asyncpg"),
        ("bot.tools.sql.guard", "from bot.tools.plugins import open_plugins"),
        ("bot.storage.embedded.redis", "from bot.storage.client import open_redis"),
        ("bot.commands.redis.runner", "from bot.tools import KeyValueStore"),
        ("bot.inbox.worker", "from bot.turn import Turns"),
        ("bot.inbox.worker", "from bot import tools"),
        ("bot.tools.sql.database", "from bot.agent import prompts"),
        ("bot.storage.embedded.redis", "from bot.tools import toolset"),
        ("bot.commands.health", "from bot.main import Bot"),
        ("bot.agent.graph", "import bot.main"),
        ("bot.agent.graph", "from bot import slack"),
        ("bot.composition", "import discord"),
        ("bot.composition", "from bot.main import main"),
        ("bot.app", "from bot.composition import open_bot"),
        ("bot.__main__", "from bot.config import Settings"),
    ],
)
def test_forbidden_import_is_reported(module: str, source: str) -> None:
    """The checker sees it in every form an import can have, and names the module."""
    assert [fault.split(" may not import ")[0] for fault in import_faults(module, source)] == [module]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("bot.slack.events", "import json\nfrom bot.chat import Message\nfrom bot.slack import api"),
        ("bot.slack.events", "from collections.abc import Mapping\nfrom bot.slack.api import SlackApi"),
        ("bot.discord.gateway", "import discord\nfrom discord.gateway import DiscordWebSocket"),
        ("bot.telegram.platform", "import aiogram\nfrom bot.chat import Platform"),
        ("bot.commands.health", "from bot import __version__"),
        ("bot.agent.agent", "from bot.tools import toolset"),
        ("bot.composition", "from bot import discord, slack\nfrom bot.inbox import Inbox"),
        ("bot.main", "from bot import composition"),
        ("bot.__main__", "from bot.main import main"),
    ],
)
def test_allowed_import_is_not_reported(module: str, source: str) -> None:
    """The checker lets pass what the rule allows, a new platform's folder included."""
    assert import_faults(module, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio\nasyncio.get_event_loop()",
        "from asyncio import get_event_loop",
        "loop.run_until_complete(work())",
        "import time\ntime.sleep(1)",
        "from time import sleep",
        "try:\n    work()\nexcept:\n    pass",
    ],
)
def test_banned_construct_is_reported(source: str) -> None:
    """The checker sees each thing that no file may do, once."""
    assert len(construct_faults("bot.anything", source)) == 1


def test_permitted_constructs_are_not_reported() -> None:
    """Their proper counterparts pass."""
    source = (
        "import asyncio, time\nasyncio.get_running_loop()\nasyncio.sleep(1)\ntime.monotonic()\n"
        "try:\n    work()\nexcept ValueError:\n    pass"
    )
    assert construct_faults("bot.anything", source) == []
