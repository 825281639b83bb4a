"""All the tools that a model may be given: their names and arguments are a contract, and documented."""

import re
from pathlib import Path

from redis.asyncio import Redis

from bot.memory import Accounts, LongTermMemory, OfflineEmbeddings
from bot.storage.files import FileStore
from bot.tools import GuardedTool, open_database, open_database_writer, toolset
from tests.support.turns import as_told

DOCUMENT = Path(__file__).parent.parent / "docs" / "tools.md"

CONTRACT = {
    "sql_schema": ["table"],
    "sql_query": ["query"],
    "sql_execute": ["statement"],
    "chart": ["query", "kind", "x", "y", "title"],
    "export": ["query"],
    "memory_save": ["text", "scope"],
    "memory_search": ["query", "since", "until"],
    "current_time": ["zone"],
}


async def test_names_and_arguments_are_the_contract_and_documented(redis: Redis) -> None:
    """The table in docs/tools.md has each, its arguments in order; only what changes the database waits."""
    nowhere = "postgresql://127.0.0.1:1/none"
    async with (
        open_database(nowhere, size=1) as database,
        open_database_writer(nowhere, database, size=1) as orders,
    ):
        recall = LongTermMemory(
            redis, OfflineEmbeddings(), Accounts(redis), as_told, fact_days=1, turn_days=1
        )
        tools = toolset(database, recall, keep=FileStore(redis).keep, writer=orders)
    arguments = {tool.name: list(tool.args) for tool in tools}
    assert arguments == CONTRACT
    documented = re.findall(r"^\| `(\w+)\((.*?)\)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert {name: re.findall(r"\w+", listed) for name, listed in documented} == CONTRACT
    assert [tool.name for tool in tools if isinstance(tool, GuardedTool)] == ["sql_execute"]
