"""Changes to the database that a person has allowed: each runs once, and exactly as it was shown.

A row in the ledger is written in the same transaction as the change, under the request's name. Whoever runs
the request again, after a crash or a lost connection, finds that row and changes nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg
from pglast import ast
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from bot.chat import Proposal
from bot.tools import sql_guard
from bot.tools.failure import ToolFailure
from bot.tools.guarded import Preview
from bot.tools.hidden import hidden_in
from bot.tools.sql_errors import DatabaseDown, translated
from bot.tools.sql_functions import refuse_hidden_effects
from bot.tools.sql_guard import Statement
from bot.tools.sql_pool import Connection, Pool, acquired

log = logging.getLogger(__name__)

MAX_STATEMENT_CHARS = 1_500
"""A longer one does not fit into one message, and nobody reads it to the end."""

LEDGER = "agent_ledger"

LEDGER_TABLE = f"""\
CREATE TABLE IF NOT EXISTS {LEDGER} (
    request text PRIMARY KEY,
    statement text NOT NULL,
    rows bigint NOT NULL,
    asked_by text NOT NULL,
    approved_by text NOT NULL,
    executed_at timestamptz NOT NULL DEFAULT now()
)"""

_WRITING: frozenset[type[ast.Node]] = frozenset(
    {ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.SelectStmt}
)
_WRITING_ONLY = "only INSERT, UPDATE and DELETE are."

_SECONDS = 30
_LOCK_MILLISECONDS = 3_000
_TRIES = 4
_ROWS = "rows"

_BEGIN = f"""
BEGIN READ WRITE;
SET LOCAL statement_timeout = {_SECONDS * 1_000};
SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL standard_conforming_strings = on;
"""

_CLAIM = f"""
INSERT INTO {LEDGER} (request, statement, rows, asked_by, approved_by) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (request) DO NOTHING RETURNING request
"""  # noqa: S608 - the table's name is ours


@dataclass(frozen=True, slots=True)
class Order:
    """A statement that a person has allowed: who asked, who approved, and how many rows it was to change."""

    request: str
    statement: Statement
    rows: int
    asked_by: str
    approved_by: str


@dataclass(frozen=True, slots=True)
class Change:
    """A statement that may be shown to a person, and the table that it changes."""

    statement: Statement
    table: str


def check(text: str) -> Change:
    """The single INSERT, UPDATE or DELETE in `text`. Raises `ToolFailure` with the reason when there is none.

    A person has to see all of it as it is: what is long, or would not look like what it is, is refused.
    """
    _require(len(text) <= MAX_STATEMENT_CHARS, f"Write at most {MAX_STATEMENT_CHARS:,} characters.")
    hidden = hidden_in(text)
    _require(not hidden, f"The statement holds a character that cannot be seen ({hidden!r}).")
    _require("```" not in text, "The statement holds ```, which would end the block of code that shows it.")
    statement = sql_guard.parse_one(text)
    tree = statement.tree
    match tree:
        case ast.InsertStmt():
            pass
        case ast.UpdateStmt() | ast.DeleteStmt():
            _require(
                tree.whereClause is not None,
                f"{statement.kind} without WHERE would change every row; say which rows are meant.",
            )
        case _:
            raise ToolFailure(f"{statement.kind} is not allowed: {_WRITING_ONLY}")
    _require(not tree.returningClause, "RETURNING is not possible: look with sql_query afterwards.")
    _require(not tree.withClause or not _writes(tree.withClause), "WITH may only read here.")
    relation = tree.relation
    assert relation is not None  # the grammar has none without
    table = f"{relation.schemaname}.{relation.relname}" if relation.schemaname else str(relation.relname)
    own = relation.relname == LEDGER or (relation.schemaname or "") in ("pg_catalog", "information_schema")
    _require(not own and not str(relation.relname).startswith("pg_"), f"{table} may not be changed.")
    calls = sql_guard.inspect(tree, _WRITING, _WRITING_ONLY)
    return Change(replace(statement, calls=calls), table)


def _writes(clause: ast.WithClause) -> bool:
    return any(not isinstance(each.ctequery, ast.SelectStmt) for each in clause.ctes or ())


class Orders:
    """Statements that change the database `pool`, each behind a person's approval."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._has_ledger = False

    async def preview(self, statement: str) -> Preview:
        """What the statement would do, found by running it in a transaction that is rolled back.

        Raises `ToolFailure`, also when the ledger could not be written: better before a person is asked.
        """
        change = check(statement)
        await self._ensure_ledger()
        async with _writing(self._pool) as connection:
            with translated(statement, _SECONDS):
                await refuse_hidden_effects(connection, change.statement.calls)
                rows = await _run(connection, change.statement.text)
            with translated("", _SECONDS):
                await connection.fetchval(_CLAIM, "a rehearsal", "", 0, "", "")
        effect = _effect(change, rows)
        return Preview("Change the database", change.statement.text.strip(), effect, "sql", {_ROWS: rows})

    async def _ensure_ledger(self) -> None:
        if self._has_ledger:
            return
        try:
            async with _writing(self._pool) as connection:
                with translated("", _SECONDS):
                    if await connection.fetchval("SELECT to_regclass($1)", LEDGER) is None:
                        await connection.execute(LEDGER_TABLE)
                        await connection.execute("COMMIT")
        except DatabaseDown:
            raise
        except ToolFailure as error:
            raise ToolFailure(_NO_LEDGER) from error
        self._has_ledger = True

    async def execute(self, proposal: Proposal, asked_by: str, approved_by: str) -> str:
        """Run an approved statement, unless it has run already; what came of it, in words for the model.

        Raises `ToolFailure` when it did not run, or when that cannot be found out. Being cancelled it still
        goes on to its end: half an order would be nobody's order.
        """
        order = Order(
            request=proposal.id,
            statement=check(proposal.arguments["statement"]).statement,
            rows=proposal.facts[_ROWS],
            asked_by=asked_by,
            approved_by=approved_by,
        )
        running = asyncio.ensure_future(self._repeated(order))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # seen: asyncio reports errors that nobody has asked for
            raise

    async def _repeated(self, order: Order) -> str:
        repeated = AsyncRetrying(
            retry=retry_if_exception_type(DatabaseDown),
            stop=stop_after_attempt(_TRIES),
            wait=wait_exponential(multiplier=0.5, max=5),
            reraise=True,
        )
        try:
            outcome: str = await repeated(self._once, order)
        except DatabaseDown as error:
            raise ToolFailure(_UNKNOWN.format(request=order.request)) from error
        return outcome

    async def _once(self, order: Order) -> str:
        async with _writing(self._pool) as connection:
            if not await _claim(connection, order):
                log.info("order was carried out before", extra={"request": order.request})
                return _done(order.rows)
            with translated(order.statement.text, _SECONDS):
                await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}")
                await refuse_hidden_effects(connection, order.statement.calls)
                rows = await _run(connection, order.statement.text)
            if rows != order.rows:
                raise ToolFailure(_OTHERWISE.format(rows=_counted(rows), approved=order.rows))
            with translated("", _SECONDS):
                await connection.execute("COMMIT")
        log.info("order carried out", extra={"request": order.request, "rows": rows})
        return _done(rows)


def _effect(change: Change, rows: int) -> str:
    match change.statement.tree:
        case ast.InsertStmt():
            return f"It would add {_counted(rows)} to {change.table}."
        case ast.DeleteStmt():
            return f"It would delete {_counted(rows)} of {change.table}."
        case _:
            return f"It would change {_counted(rows)} of {change.table}."


def _counted(rows: int) -> str:
    return f"{rows:,} row" if rows == 1 else f"{rows:,} rows"


def _done(rows: int) -> str:
    return f"A person approved this, and it was done: {_counted(rows)}."


@asynccontextmanager
async def _writing(pool: Pool) -> AsyncIterator[Connection]:
    """A connection in a transaction that is rolled back at the end unless the body commits it."""
    async with acquired(pool, _SECONDS) as connection:
        with translated("", _SECONDS):
            await connection.execute(_BEGIN)
        yield connection


async def _claim(connection: Connection, order: Order) -> bool:
    """Enter the order into the ledger; False when it stands there.

    Somebody who is at it at this moment is waited for. Raises `DatabaseDown` when that takes too long, since
    nobody knows then what will come of it.
    """
    entry = (order.request, order.statement.text, order.rows, order.asked_by, order.approved_by)
    try:
        with translated("", _SECONDS):
            return await connection.fetchval(_CLAIM, *entry) is not None
    except ToolFailure as error:
        if isinstance(error.__cause__, asyncpg.QueryCanceledError):
            raise DatabaseDown("The order is being carried out by somebody else.") from error
        raise


async def _run(connection: Connection, statement: str) -> int:
    """Run a statement; how many rows it has changed, which stands last in its status (`INSERT 0 3`)."""
    prepared = await connection.prepare(statement)
    await prepared.fetch()
    return int((prepared.get_statusmsg() or "0").rpartition(" ")[2])


_UNKNOWN = (
    "The database could not be reached, and it is not known whether the statement ran. A person has to look "
    f"into the table {LEDGER}: it ran if there is a row for request {{request}}."
)

_OTHERWISE = (
    "Nothing was changed: the statement would now change {rows}, not {approved:,} as when it was approved. "
    "Look at the data again, and ask anew if it is still wanted."
)

_NO_LEDGER = (
    f"Nothing can be changed yet: the table {LEDGER} is missing, and I may not make it. Tell the operator; "
    "docs/approvals.md says how to."
)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ToolFailure(otherwise)
