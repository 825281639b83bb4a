"""All the tools that a model may be given: their names and arguments are a contract, and documented."""

import re
from pathlib import Path

from redis.asyncio import Redis

from bot.agent.parts import titles_of
from bot.memory import AccountLinks, LongTermMemory, OfflineEmbeddings
from bot.platforms.registry import Platforms
from bot.storage.files import FileStore
from bot.tools.sql.database import open_database
from bot.tools.sql.write import open_database_writer
from bot.tools.toolset import toolset
from bot.tools.waiting import GuardedTool
from tests.support.turns import derive_audience

DOCUMENT = Path(__file__).parent.parent / "docs" / "tools.md"

NEED_MORE = {"sql_execute", "table", "chart", "export", "memory_save", "memory_search", "ask_user"} | {
    *("read_messages", "search_messages", "find_person")
}
"""Tools that are there only with a writer, a store of files, a memory, a chat service, or if it can ask."""


async def test_names_arguments_and_titles_are_documented(redis: Redis) -> None:
    """The table in docs/tools.md is the contract; its arguments are in order. Only what changes waits."""
    nowhere = "postgresql://127.0.0.1:1/none"
    async with (
        open_database(nowhere, size=1) as database,
        open_database_writer(nowhere, database, size=1) as orders,
    ):
        recall = LongTermMemory(
            redis, OfflineEmbeddings(), AccountLinks(redis), derive_audience, fact_days=1, turn_days=1
        )
        tools = toolset(
            *(database, recall, None, FileStore(redis).keep, orders, Platforms([], [], {})), asks=True
        )
        fewest = toolset(database, None)
    words = titles_of(tools)
    assert {name for name, each in words.items() if "activity" not in each} == {
        "stay_silent"
    }  # it never runs
    titles = {name: each["title"] for name, each in words.items()}
    rows = re.findall(r"^\| `(\w+)\((.*?)\)` \| (.*?) \|", DOCUMENT.read_text(), re.MULTILINE)
    documented = [(name, re.findall(r"\w+", arguments), title) for name, arguments, title in rows]
    assert [(tool.name, list(tool.args), titles[tool.name]) for tool in fewest] == [
        row for row in documented if row[0] not in NEED_MORE
    ]
    assert sorted((tool.name, list(tool.args), titles[tool.name]) for tool in tools) == sorted(documented)
    assert {name for name, *_ in documented} > NEED_MORE
    assert [tool.name for tool in tools if isinstance(tool, GuardedTool)] == ["sql_execute"]
