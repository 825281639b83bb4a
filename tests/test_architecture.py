"""Architecture: imports between rooms, libraries by folder, forbidden constructs, size and prose of files."""

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.config import reserved_keys
from tests.support.rooms import BOT, FILES, imports_of, module_of, room_of

EXAMPLE = sorted((Path(__file__).parent / "example_platform").glob("*.py"))
REPOSITORY = Path(__file__).parent.parent
PROSE = [path for top in ("bot", "tests", "benchmarks") for path in sorted((REPOSITORY / top).rglob("*.py"))]
TESTS = REPOSITORY / "tests"
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
    libraries="asyncpg discord hiredis langchain_core langchain_mcp_adapters langchain_openai langgraph mcp "
    "openai pglast redis redisvl slack_bolt slack_sdk structlog tokenizers uvloop"
).libraries

PLATFORM = "chat commands commands.redis concurrency platforms"
"""Rooms that the folder of a chat platform sees."""

RULES = {
    "__main__": rule("main"),
    "main": rule(
        "__version__ chat composition composition.evaluation concurrency config discord http platforms slack "
        "storage storage.embedded",
        "uvloop",
    ),
    "composition.evaluation": rule(
        "access access.requests agent agent.models app chat commands composition config platforms storage "
        "storage.embedded",
        "langchain_core pydantic yaml",
    ),
    "app": rule("access access.requests chat commands concurrency config inbox platforms turn", "structlog"),
    "turn": rule("chat"),
    "concurrency": rule("chat"),
    "config": rule("chat", "dotenv pydantic pydantic_settings structlog"),
    "chat": rule(),
    "platforms": rule(f"{PLATFORM} config", "aiohttp yarl"),
    "slack": rule(PLATFORM, "aiohttp pydantic slack_bolt slack_sdk"),
    "discord": rule(f"{PLATFORM} discord.markdown", "aiohttp discord pydantic tenacity yarl"),
    "discord.markdown": rule(),
    "http": rule(f"{PLATFORM} __version__", "aiohttp pydantic pydantic_core pydantic_settings"),
    "inbox": rule("access chat concurrency inbox.scripts storage", "redis"),
    "inbox.scripts": rule(),
    "commands": rule("__version__ chat commands.redis"),
    "commands.redis": rule("chat storage"),
    "access": rule("chat config storage", "redis"),
    "access.requests": rule("chat commands storage", "redis"),
    "access.answers": rule("access chat commands config storage", "redis"),
    "agent": rule(
        "agent.models chat concurrency memory tools",
        "langchain_core langgraph pydantic redis redisvl tenacity",
    ),
    "agent.models": rule("agent chat tools", "aiohttp langchain_core langchain_openai pydantic yarl"),
    "agent.attachments": rule("agent chat", "PIL bs4 chardet mammoth markdownify pptx pypdf python_calamine"),
    "memory": rule("chat commands concurrency", "httpx2 numpy openai pydantic redis redisvl tokenizers"),
    "tools": rule("chat concurrency memory tools.charts tools.sql", "langchain_core pydantic xlsxwriter"),
    "tools.charts": rule("chat concurrency tools tools.sql", "matplotlib"),
    "tools.plugins": rule(
        "__version__ chat concurrency config tools",
        "anyio httpx langchain_core langchain_mcp_adapters mcp pydantic redis",
    ),
    "tools.sql": rule("chat tools", "asyncpg pglast tenacity"),
    "storage": rule("chat config", "cryptography hiredis redis"),
    "storage.embedded": rule("chat", "asyncpg redis"),
}
ROOT = "composition"
"""Puts everything together: it sees all rooms, and only the command line sees it."""
MAY_NOT_BE_SEEN = frozenset({"composition", "main"})

HEADLESS = ("what", "whether", "who", "whose", "whom", "how", "where", "when", "which", "see", "the same")
"""Openings of a docstring that is neither a noun phrase nor an imperative."""


MOST_ENTRIES = 18
"""Files and folders in bot/, beside `__init__.py` and `__main__.py`: each is a noun that a stranger knows."""


def import_faults(module: str, source: str) -> list[str]:
    """Return the forbidden imports of a module, each as a sentence."""
    return [f"{module} may not import {name}" for name in imports_of(source) if not is_allowed(module, name)]


def is_allowed(module: str, name: str) -> bool:
    if name.startswith("."):  # absolute imports only, so that the rule can be read off the line
        return False
    room, top = room_of(module), name.split(".")[0]
    if top in sys.stdlib_module_names:
        return True
    if top != "bot":
        return is_allowed_library(room, top)
    seen = room_of(name)
    if seen == room and seen != "main":
        return True
    if room == ROOT:
        return seen not in MAY_NOT_BE_SEEN
    # a folder without a rule is a new platform, and costs no change here
    return seen in (RULES[room].rooms if room in RULES else PLATFORM.split())


def is_allowed_library(room: str, library: str) -> bool:
    if room == ROOT:
        return library in {"langchain_core", "redis"}
    return library in RULES[room].libraries if room in RULES else library not in BOUND_LIBRARIES


def is_test_file(name: str) -> bool:
    return name.startswith("tests.test_")


def construct_faults(module: str, source: str) -> list[str]:
    """Return forbidden constructs: second event loops, blocking calls, bare excepts."""
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


def headless_docstrings(source: str) -> list[str]:
    """Return the docstrings of a module, its classes and functions that begin with a word of `HEADLESS`."""
    opening = re.compile(rf"({'|'.join(HEADLESS)})\b", re.IGNORECASE)
    if not re.search(rf"""["'][\s\\]*{opening.pattern}""", source, re.IGNORECASE):
        return []  # most files need not be parsed
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds))
    return [text for text in map(ast.get_docstring, nodes) if text and opening.match(text)]


def test_files_keep_the_rules() -> None:
    """Each imports what its part may see, does nothing that no file may do, and is short enough to read."""
    faults: list[str] = []
    for path in FILES:
        source, module = path.read_text(), module_of(path)
        faults += import_faults(module, source) + construct_faults(module, source)
        if source.count("\n") > MOST_LINES:
            faults.append(f"{module} has more than {MOST_LINES} lines: split it by idea")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("path", EXAMPLE, ids=lambda path: path.stem)
def test_example_platform_keeps_the_rules_of_a_platform(path: Path) -> None:
    """It sees what the folder of any platform sees, and itself."""
    source = path.read_text().replace("tests.example_platform", "bot.lines")
    assert not import_faults(f"bot.lines.{path.stem}", source)


def test_no_file_imports_a_test_file() -> None:
    """Code that two test files need is in `tests/support/`."""
    files = sorted(TESTS.rglob("*.py"))
    names = [(path.name, name) for path in files for name in imports_of(path.read_text())]
    assert not [each for each in names if is_test_file(each[1])]


@pytest.mark.parametrize(
    "source", ["from tests.test_bot import chat", "import tests.test_bot", "from tests import test_bot"]
)
def test_an_import_of_a_test_file_is_seen(source: str) -> None:
    """The checker sees it in every form, and lets a support module pass."""
    assert [is_test_file(name) for name in imports_of(source)] == [True]
    assert not is_test_file("tests.support.bot.run_bot")


def test_all_files_are_looked_at() -> None:
    """The walk finds each room that has a rule, and no other but the composition root."""
    assert {room_of(module_of(path)) for path in FILES} == RULES.keys() | {ROOT, "__init__"}


def test_no_rule_allows_a_library_that_nobody_imports() -> None:
    """The table says where each library is used, not where it once was."""
    used = {
        (room_of(module_of(path)), name.split(".")[0])
        for path in FILES
        for name in imports_of(path.read_text())
    }
    allowed = {(room, library) for room, each in RULES.items() for library in each.libraries}
    assert allowed - used == set()


def test_the_root_can_be_read_at_a_glance() -> None:
    """The architecture is what `ls bot` shows."""
    parts = {
        path.relative_to(BOT).parts[0] for path in FILES
    }  # a folder that has moved leaves its cache behind
    entries = [each for each in parts if not each.startswith("__")]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


TWINS = {
    "adapter": "ADAPTER build_adapter",
    "api": "{Platform}Api",
    "announcements": "announce",
    "ask": "",
    "channel_command": "add_channel_command",
    "commands": "add_commands",
    "errors": "GivenUp Refused translate_errors",
    "events": "STOP_REACTION is_guest parse_message",
    "fallback": "notify_author",
    "health": "TokenProbe",
    "history": "History History.read",
    "memory_command": "add_memory_command",
    "messages": "ReplyMessages ReplyMessages.recover ReplyMessages.show ReplyMessages.finish",
    "platform": "{Platform} connect",
    "redis_command": "add_redis_command",
    "renderer": "Renderer Renderer.add Renderer.finish",
    "reply": "{Platform}Thread {Platform}Thread.reply",
    "request_forms": "render_request",
    "requests": "Requests Requests.show Requests.settle show_request settle_request",
    "responses": "answer follow_up",
    "status": "Status",
    "timing": "Timing",
    "uploads": "Uploads",
}
"""Files that the folders of Slack and Discord both have, and names that each defines in them."""


def defined(source: str) -> set[str]:
    """Return the names that a module defines, and those of its classes' methods as `Class.method`."""
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, definitions):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, definitions)}
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("platform", ["Slack", "Discord"])
@pytest.mark.parametrize("module", TWINS)
def test_the_same_thing_has_the_same_name_on_both_platforms(module: str, platform: str) -> None:
    """A reader of one of the two folders finds everything in the other."""
    names = set(TWINS[module].replace("{Platform}", platform).split())
    assert names <= defined((BOT / platform.lower() / f"{module}.py").read_text())


SHOWN_TO_USERS = {
    "AnswerError",
    "BudgetExceeded",
    "DecisionAnswer",
    "FileRefused",
    "LinkRefused",
    "NotShown",
    "Notice",
    "Refusal",
    "Refuse",
    "StopRefused",
    "not_now",
}
"""Parts, outcomes and errors whose text users read."""


def scattered_sentences(source: str) -> list[str]:
    """Return the texts that a module writes into a call of `SHOWN_TO_USERS`."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    arguments = [
        each
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in SHOWN_TO_USERS
        for each in call.args
    ]
    return [ast.unparse(each) for each in arguments if is_text(each)]


def is_text(node: ast.expr) -> bool:
    match node:
        case ast.JoinedStr() | ast.BinOp() | ast.Constant(value=str()):
            return True
        case _:
            return False


def test_sentences_to_users_are_in_texts_modules() -> None:
    """Everything that the bot says about a subject can be read in one file."""
    found = [f"{module_of(path)}: {text}" for path in FILES for text in scattered_sentences(path.read_text())]
    assert not found, "\n".join(found)


def test_scattered_sentence_is_recognised() -> None:
    """The check sees a plain text, a text with values and a joined one, and lets names and numbers pass."""
    scattered = 'Notice("No."), Refusal(400, f"No {x}."), not_now("No. " + LATER)'
    assert len(scattered_sentences(scattered)) == 3
    assert not scattered_sentences("Notice(texts.NO), Refuse(no(3)), Refusal(403, texts.NO)")


def test_docstrings_begin_with_a_noun_or_an_imperative() -> None:
    """Each says what the thing is or does, without a riddle."""
    found = [
        f"{path.relative_to(REPOSITORY)}: {text}"
        for path in PROSE
        for text in headless_docstrings(path.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("docstring", "is_headless"),
    [
        ("What a turn needs.", True),
        ("The same for a thread.", True),
        ("See `Platform.health`.", True),
        ("Whether it is open.", True),
        ("Return the same message.", False),
        ("Whatever.", False),
        ("Seen messages.", False),
    ],
)
def test_headless_docstring_is_recognised(docstring: str, is_headless: bool) -> None:
    """The check knows whole words, in modules, classes and functions alike."""
    sources = [
        f'"""{docstring}"""',
        *(f'{kind}:\n    """{docstring}"""' for kind in ("class A", "async def a()")),
    ]
    assert [bool(headless_docstrings(each)) for each in sources] == [is_headless] * 3


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
        ("bot.turn", "from bot.slack.events import parse_event"),
        ("bot.chat", "import pydantic"),
        ("bot.chat", "from bot.commands.commands import Commands"),
        ("bot.config", "from bot.commands.commands import Commands"),
        ("bot.config", "from bot import slack"),
        ("bot.platforms.registry", "from bot import slack"),
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


def test_each_key_in_redis_is_spelled_by_one_room() -> None:
    """The table in `bot.config.reserved_keys` names the owner of each key, and nobody else spells it."""
    owners: dict[str, str] = {}
    table = re.findall(
        r"^ {4}(?:\{bot\}:| +)([a-z_ ]+?)(?: {2,}([a-z._]+).*)?$", reserved_keys.__doc__ or "", re.MULTILINE
    )
    waiting: list[str] = []
    for names, owner in table:
        waiting += names.split()
        if owner:
            owners |= dict.fromkeys(waiting, f"bot.{owner}")
            waiting = []
    found = {
        (module_of(path), name)
        for path in FILES
        if module_of(path) != reserved_keys.__name__
        for name in re.findall(r"\{(?:bot|TAG|_TAG)\}+:([a-z_]+)", path.read_text())
    }
    assert {name for _, name in found} <= owners.keys()
    assert [(module, name) for module, name in found if not f"{module}.".startswith(f"{owners[name]}.")] == []
