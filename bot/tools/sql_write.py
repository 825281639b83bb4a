"""Changes to the database that a person has allowed: each runs once, and exactly as it was shown.

A row in the ledger is written in the same transaction as the change, under the request's name. Whoever runs
the request again, after a crash or a lost connection, finds that row and changes nothing.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

import asyncpg
from pglast import ast
from pglast.enums import OnConflictAction
from pglast.visitors import Ancestor, Visitor
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from bot.chat import Health, Proposal
from bot.tools import sql_guard
from bot.tools.failure import ToolFailure
from bot.tools.guarded import Preview
from bot.tools.hidden import hidden_in
from bot.tools.sql_errors import DatabaseDown, translated
from bot.tools.sql_functions import refuse_hidden_effects
from bot.tools.sql_guard import Statement
from bot.tools.sql_pool import Connection, Pool, acquired, reading

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

_REHEARSAL_SECONDS = 5
"""A rehearsal holds locks, and nobody has approved it."""

_BEGIN = """
BEGIN READ WRITE;
SET LOCAL statement_timeout = '{seconds}s';
SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL standard_conforming_strings = on;
"""

_CARRIED_OUT = f"SELECT rows FROM {LEDGER} WHERE request = $1"  # noqa: S608 - the table's name is ours

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
            clause = tree.onConflictClause
            overwrites = clause is not None and clause.action == OnConflictAction.ONCONFLICT_UPDATE
            _require(not overwrites, "ON CONFLICT DO UPDATE hides what it overwrites: write an UPDATE.")
        case ast.UpdateStmt() | ast.DeleteStmt():
            _require(
                tree.whereClause is not None,
                f"{statement.kind} without WHERE would change every row; say which rows are meant.",
            )
        case _:
            raise ToolFailure(f"{statement.kind} is not allowed: {_WRITING_ONLY}")
    _require(not tree.returningClause, "RETURNING is not possible: look with sql_query afterwards.")
    _require(_Parts.of(tree).writing == 1, "What stands inside the statement may only read.")
    relation = tree.relation
    assert relation is not None  # the grammar has none without
    table = f"{relation.schemaname}.{relation.relname}" if relation.schemaname else str(relation.relname)
    own = relation.relname == LEDGER or (relation.schemaname or "") in ("pg_catalog", "information_schema")
    _require(not own and not str(relation.relname).startswith("pg_"), f"{table} may not be changed.")
    calls = sql_guard.inspect(tree, _WRITING, _WRITING_ONLY)
    return Change(replace(statement, calls=calls), table)


class _Parts(Visitor):
    """The statements that write, the tables that are named, and the names that WITH gives."""

    def __init__(self) -> None:
        self.writing = 0
        self.tables: set[str] = set()
        self.given: set[str] = set()

    def visit(self, _: Ancestor, node: ast.Node) -> None:
        match node:
            case ast.InsertStmt() | ast.UpdateStmt() | ast.DeleteStmt():
                self.writing += 1
            case ast.RangeVar(schemaname=schema, relname=str(name)):
                self.tables.add(".".join(_quoted(each) for each in (schema, name) if each))
            case ast.CommonTableExpr(ctename=str(name)):
                self.given.add(_quoted(name))

    @classmethod
    def of(cls, tree: ast.Node) -> "_Parts":
        parts = cls()
        parts(tree)
        return parts


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class Orders:
    """Statements that change the database `pool`, each behind a person's approval."""

    def __init__(self, pool: Pool, readers: Pool | None = None, *, refuses_powers: bool = False) -> None:
        self._pool = pool
        self._readers = readers
        self._refuses_powers = refuses_powers
        self._has_ledger = False

    async def preview(self, statement: str) -> Preview:
        """What the statement would do, found by running it in a transaction that is rolled back.

        Raises `ToolFailure`, also when the ledger could not be written: better before a person is asked.
        """
        change = check(statement)
        await self._require_readable(change.statement.tree)
        await self._ensure_ledger()
        async with _writing(self._pool, _REHEARSAL_SECONDS) as connection:
            with _without_values(), translated(statement, _REHEARSAL_SECONDS):
                await refuse_hidden_effects(connection, change.statement.calls)
                rows = await _run(connection, change.statement.text)
            with translated("", _SECONDS):
                await connection.fetchval(_CLAIM, "a rehearsal", "", 0, "", "")
        effect = _effect(change, rows)
        return Preview("Change the database", change.statement.text.strip(), effect, "sql", {_ROWS: rows})

    async def _require_readable(self, tree: ast.Node) -> None:
        """Nobody has approved the rehearsal: it may look at nothing that the reading role may not see."""
        if self._readers is None:
            return
        parts = _Parts.of(tree)
        async with reading(self._readers, _REHEARSAL_SECONDS) as connection:
            for table in sorted(parts.tables - parts.given):
                with translated("", _REHEARSAL_SECONDS):
                    readable = await connection.fetchval(_READABLE, table)
                _require(readable is not False, f"{table} may not be read, so no statement may name it.")

    async def _ensure_ledger(self, *, again: bool = False) -> None:
        if self._has_ledger and not again:
            return
        async with _writing(self._pool) as connection:
            with translated("", _SECONDS):
                powers = await connection.fetchval(_POWERS)
        _require(not (self._refuses_powers and powers), _TOO_POWERFUL)
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

    async def health(self) -> Health:
        """Whether changes could be made; never raises."""
        began = time.monotonic()
        try:
            await self._ensure_ledger(again=True)
        except DatabaseDown:
            return Health(name="writes", state="down", evidence={"error": "not reachable"})
        except ToolFailure as error:
            return Health(name="writes", state="degraded", evidence={"error": str(error)})
        waited = round((time.monotonic() - began) * 1_000, 1)
        return Health(name="writes", state="ok", evidence={"ping_ms": waited, "ledger": LEDGER})

    async def outcome(self, proposal: Proposal) -> str:
        """Whether an approved statement has run, as the ledger tells."""
        try:
            async with _writing(self._pool, _REHEARSAL_SECONDS) as connection:
                with translated("", _REHEARSAL_SECONDS):
                    rows = await connection.fetchval(_CARRIED_OUT, proposal.id)
        except ToolFailure:
            return f"The table {LEDGER} tells whether the approved change was made (request {proposal.id})."
        if rows is None:
            return "The approved change was not carried out."
        return f"The approved change was carried out: {_counted(rows)}."

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
async def _writing(pool: Pool, seconds: int = _SECONDS) -> AsyncIterator[Connection]:
    """A connection in a transaction that is rolled back at the end unless the body commits it."""
    async with acquired(pool, seconds) as connection:
        with translated("", seconds):
            await connection.execute(_BEGIN.format(seconds=seconds))
            if seconds == _REHEARSAL_SECONDS:
                await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}")
        yield connection


@contextmanager
def _without_values() -> Iterator[None]:
    """Errors of a rehearsal tell nothing of what is in the tables: it was run without leave."""
    try:
        yield
    except ToolFailure as error:
        cause = error.__cause__
        if isinstance(cause, asyncpg.DataError):
            raise ToolFailure(
                f"It cannot run: a value has a wrong form, or is out of range (SQLSTATE {cause.sqlstate})."
            ) from None
        if isinstance(cause, asyncpg.IntegrityConstraintViolationError):
            raise ToolFailure(f"It cannot run: {cause.message} (SQLSTATE {cause.sqlstate}).") from None
        raise


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

_READABLE = """
SELECT has_any_column_privilege(to_regclass($1), 'SELECT')
"""

_POWERS = """
SELECT bool_or(rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication)
       OR bool_or(rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'))
  FROM pg_roles WHERE rolname IN (current_user, session_user) OR (rolname LIKE 'pg\\_%server%' AND
                      pg_has_role(oid, 'USAGE'))
"""

_TOO_POWERFUL = (
    "Changes are switched off, because the role that would make them may do far more than that. Say so, and "
    "that who operates the bot must give it a role as in docs/approvals.md in DATABASE_WRITE_URL."
)

_NO_LEDGER = (
    f"Nothing can be changed yet: the table {LEDGER} is missing, and I may not make it. Tell the operator; "
    "docs/approvals.md says how to."
)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ToolFailure(otherwise)
