"""Built-in tools: names, arguments and descriptions for the model."""

import asyncio

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field

from bot.chat import ArchiveSource, Json, Keep
from bot.concurrency.process_pool import Compute, ComputeThread
from bot.memory import LongTermMemory
from bot.tools.archive import archive_tools
from bot.tools.artifacts import TableSize, artifact_of
from bot.tools.clock import current_time
from bot.tools.context import proposal_of, turn_of
from bot.tools.errors import ToolFailure
from bot.tools.file_tools import file_tools
from bot.tools.memory import memory_tools
from bot.tools.questions import ask_user
from bot.tools.sql.database import Database, QueryLimits
from bot.tools.sql.errors import UnknownName
from bot.tools.sql.format import markdown
from bot.tools.sql.schema import Schema
from bot.tools.sql.write import DatabaseWriter, approved_rows
from bot.tools.waiting import GuardedTool

_SQL_SCHEMA = """\
Describe the business database (PostgreSQL): its tables and views with columns, types, keys, comments and \
sizes, or one of them in detail with sample values. Call it before the first sql_query."""

_SQL_QUERY = """\
Run one read-only SQL statement in the business database (PostgreSQL) and get its rows as a Markdown table, \
at most {rows}: let the database count, sum, sort and filter. After an error fix the query and try again."""

_SQL_EXECUTE = """\
Change the business database (PostgreSQL) with one INSERT, UPDATE or DELETE. An approver sees the statement \
and the number of rows that it would change, and it runs only after their approval. Use it when somebody \
asks for a change; look at the rows with sql_query first, and select them exactly in WHERE."""

OPEN_TOOLS = frozenset({"ask_user", "current_time", "memory_save", "memory_search"})
"""The only tools of a turn in which an external user takes part, with ALLOW_EXTERNAL=chat. A tool that is not
named here, such as one of a plug-in, is for members."""

STAY_SILENT = "stay_silent"
"""Tool that is offered only where the model can choose not to answer; the agent reads its calls, and it never
runs."""

_STAY_SILENT = """\
Write nothing now. For a message that is meant for another user, or that needs no answer of yours. Call it \
alone and write no text beside it."""

_CURRENT_TIME = "Return the current date, weekday and time in a time zone."


class SqlSchemaArguments(BaseModel):
    """Arguments of `sql_schema`."""

    table: str | None = Field(
        None, description="A table or view to describe in detail; default: a short description of all"
    )


class SqlQueryArguments(BaseModel):
    """Arguments of `sql_query`."""

    query: str = Field(description="One PostgreSQL statement: SELECT, WITH, VALUES, TABLE, SHOW or EXPLAIN")


class SqlExecuteArguments(BaseModel):
    """Arguments of `sql_execute`."""

    statement: str = Field(
        description="One PostgreSQL statement: INSERT, UPDATE or DELETE, without RETURNING"
    )


class CurrentTimeArguments(BaseModel):
    """Arguments of `current_time`."""

    zone: str | None = Field(None, description="An IANA time zone such as Europe/Berlin; default: UTC")


class StaySilentArguments(BaseModel):
    """Arguments of `stay_silent`: none."""


def toolset(
    database: Database,
    long_term_memory: LongTermMemory | None,
    limits: QueryLimits | None = None,
    keep: Keep | None = None,
    writer: DatabaseWriter | None = None,
    archives: ArchiveSource | None = None,
    compute: Compute | None = None,
    *,
    asks: bool = False,
) -> list[BaseTool]:
    """Return the bot's own tools; those of plug-ins come from `bot.tools.plugins`.

    `long_term_memory` (long-term memory), `keep` (a store of files), `writer` (for approved changes) and
    `archives` (messages of chat services) each add the tools that need them; `asks` adds questions to users.
    `compute` makes files, by default in a thread. All are async and raise `ToolFailure` with words for the
    model. Those of memory and archives take from the turn what they may see, never from the model. Their
    metadata has the `title` that users see, and the `activity` to show while it runs.
    """
    changing = [_sql_execute(writer)] if writer else []
    files = file_tools(database, keep, compute or ComputeThread()) if keep else []
    memory = memory_tools(long_term_memory) if long_term_memory else []
    messages = archive_tools(archives) if archives is not None else []
    asking = [ask_user()] if asks else []
    sql = _sql_tools(database, limits or QueryLimits())
    return [*sql, *files, *changing, *memory, *messages, *asking, _current_time(), _stay_silent()]


def _sql_tools(database: Database, limits: QueryLimits) -> list[BaseTool]:
    schema = Schema(database)

    async def sql_schema(table: str | None = None) -> str:
        await database.require_admission()
        return await schema.describe(table)

    async def sql_query(query: str) -> tuple[str, Json]:
        try:
            result = await database.fetch(query, limits)
        except UnknownName as error:
            schema.forget()
            raise ToolFailure(f"{error}\n{await schema.names()} sql_schema describes them.") from error
        size = TableSize(len(result.rows), len(result.columns), not result.is_complete)
        return markdown(result), artifact_of(size=size)

    return [
        StructuredTool.from_function(
            coroutine=sql_schema,
            name="sql_schema",
            description=_SQL_SCHEMA,
            args_schema=SqlSchemaArguments,
            metadata={"title": "Look at the database schema", "activity": "Looking at the database schema"},
        ),
        StructuredTool.from_function(
            coroutine=sql_query,
            name="sql_query",
            description=_SQL_QUERY.format(rows=limits.rows),
            args_schema=SqlQueryArguments,
            metadata={"title": "Query the database", "activity": "Running a query"},
            response_format="content_and_artifact",
        ),
    ]


def _sql_execute(writer: DatabaseWriter) -> BaseTool:
    async def sql_execute(statement: str, config: RunnableConfig) -> tuple[str, Json]:
        turn = turn_of(config)
        assert turn.decision is not None  # an approved call always has one
        proposal = proposal_of(config)
        outcome = await writer.execute(proposal, turn.authors[0], turn.decision.by)
        return outcome, artifact_of(size=TableSize(approved_rows(proposal)))

    return GuardedTool.from_function(
        coroutine=sql_execute,
        name="sql_execute",
        description=_SQL_EXECUTE,
        args_schema=SqlExecuteArguments,
        metadata={"title": "Change the database", "activity": "Changing the database"},
        response_format="content_and_artifact",
        preview=writer.preview,
        outcome=writer.outcome,
    )


def _current_time() -> BaseTool:
    async def tell(zone: str | None = None) -> str:
        return await asyncio.to_thread(current_time, zone)  # zones are files: hundreds for an unknown name

    return StructuredTool.from_function(
        coroutine=tell,
        name="current_time",
        description=_CURRENT_TIME,
        args_schema=CurrentTimeArguments,
        metadata={"title": "Look at the clock", "activity": "Looking at the clock"},
    )


def _stay_silent() -> BaseTool:
    async def stay_silent() -> str:
        raise ToolFailure("Silence is not possible here.\nAnswer the newest message.")

    return StructuredTool.from_function(
        coroutine=stay_silent,
        name=STAY_SILENT,
        description=_STAY_SILENT,
        args_schema=StaySilentArguments,
        metadata={"title": "Stay silent"},
    )
