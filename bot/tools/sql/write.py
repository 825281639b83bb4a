"""Approved changes to the database: each runs once, and exactly as it was shown.

A row in the ledger, with the request's id, is written in the same transaction as the change. A repeated run,
after a crash or a lost connection, finds that row and changes nothing.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from pglast import ast
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from bot.chat import Health, Proposal
from bot.chat.text import count
from bot.tools.context import asker
from bot.tools.errors import ToolFailure
from bot.tools.sql import texts
from bot.tools.sql.change import Change, check
from bot.tools.sql.database import Database
from bot.tools.sql.deny_list import LEDGER
from bot.tools.sql.errors import DatabaseDown, discreet, translate_errors
from bot.tools.sql.mentions import quote
from bot.tools.sql.pool import Connection, Pool, acquire, open_pool
from bot.tools.sql.rehearsal import REHEARSAL_SECONDS, Allowance, Rehearsal
from bot.tools.sql.resolution import require_harmless
from bot.tools.waiting import Preview

log = logging.getLogger(__name__)

LEDGER_TABLE = f"""\
CREATE TABLE IF NOT EXISTS {LEDGER} (
    request text PRIMARY KEY,
    statement text NOT NULL,
    rows bigint NOT NULL,
    asked_by text NOT NULL,
    approved_by text NOT NULL,
    executed_at timestamptz NOT NULL DEFAULT now()
)"""

_SECONDS = 30
_LOCK_MILLISECONDS = 3_000
_TRIES = 4
_ROWS = "rows"

_PATH = "path"
_SETTINGS = "settings"
_IS_TRIED = "tried"
_REHEARSALS_PER_HOUR = 60

_BEGIN = """
BEGIN READ WRITE;
SET LOCAL statement_timeout = '{seconds}s';
SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL standard_conforming_strings = on;
"""

_CARRIED_OUT = f"SELECT statement, rows, asked_by FROM {LEDGER} WHERE request = $1"  # noqa: S608 - our table

_CLAIM = f"""
INSERT INTO {LEDGER} (request, statement, rows, asked_by, approved_by) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (request) DO NOTHING RETURNING request
"""  # noqa: S608 - the table's name is ours


@dataclass(frozen=True, slots=True)
class ApprovedStatement:
    """Approved statement with the asker, the approver, and the number of rows that it must change.

    `is_tried`: the reading role may learn how many rows it changes now. `path` and `settings` are those of
    the rehearsal; `path` is None in requests of older versions.
    """

    request: str
    change: Change
    rows: int
    is_tried: bool
    path: tuple[str, ...] | None
    settings: Mapping[str, str]
    asked_by: str
    approved_by: str


@asynccontextmanager
async def open_database_writer(
    dsn: str,
    readers: Database,
    *,
    size: int,
    refuses_powers: bool = False,
    rehearsals: int = _REHEARSALS_PER_HOUR,
    tries: int = _TRIES,
) -> AsyncIterator["DatabaseWriter"]:
    """Open changes with the role of `dsn` on separate connections; `readers` rehearses them.

    A user has `rehearsals` per hour, and an approved statement `tries` while the database is down.
    `refuses_powers` refuses a role that may do more than write.
    """
    async with open_pool(dsn, size=size) as pool:
        allowance = Allowance(rehearsals)
        yield DatabaseWriter(pool, readers, allowance, refuses_powers=refuses_powers, tries=tries)


class DatabaseWriter:
    """Statements that change the database after an approval."""

    name = "writes"

    def __init__(
        self,
        pool: Pool,
        readers: Database,
        allowance: Allowance,
        *,
        refuses_powers: bool = False,
        tries: int = _TRIES,
    ) -> None:
        self.__pool = pool
        self._readers = readers
        self._allowance = allowance
        self._refuses_powers = refuses_powers
        self._tries = tries
        self._has_ledger = False

    async def preview(self, statement: str) -> Preview:
        """Return the preview of a statement. Raises `ToolFailure`, also if the ledger is not writable.

        It is rehearsed with the reading role. If its outcome depends on nothing hidden, it is also tried in a
        transaction that is rolled back.
        """
        change = await asyncio.to_thread(check, statement)
        self._allowance.use(asker(), time.monotonic())
        rehearsal = await self._readers.rehearse(change)
        await self._ensure_ledger()
        rows = await self._try(change, rehearsal)
        effect = _effect(change, rows, rehearsal)
        facts = {
            _ROWS: rows,
            _PATH: list(rehearsal.path),
            _SETTINGS: dict(rehearsal.settings),
            _IS_TRIED: not rehearsal.untried,
        }
        return Preview(texts.TITLE, change.statement.text, effect, "sql", facts)

    async def _try(self, change: Change, rehearsal: Rehearsal) -> int:
        text = change.statement.text
        async with _write_transaction(self.__pool, REHEARSAL_SECONDS) as connection:
            with discreet(text, REHEARSAL_SECONDS):
                may_enter = await connection.fetchval(_MAY_ENTER, LEDGER)
                _require(bool(may_enter), _NO_LEDGER)
                await _understand_alike(connection, rehearsal.path, rehearsal.settings)
                await require_harmless(connection, change.statement, is_change=True)
                await connection.prepare(text)
                may_change = await connection.fetchval(_MAY_CHANGE, change.target.sql, change.statement.kind)
                _require(
                    bool(may_change), f"The role that makes changes is not allowed to change {change.table}."
                )
                if rehearsal.untried:
                    return rehearsal.rows
                rows = await _run(connection, text)
                await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                return rows

    async def _ensure_ledger(self, *, again: bool = False) -> None:
        if self._has_ledger and not again:
            return
        async with _write_transaction(self.__pool) as connection:
            with translate_errors("", _SECONDS):
                powers = await connection.fetchval(_POWERS)
        _require(not (self._refuses_powers and powers), _TOO_POWERFUL)
        try:
            async with _write_transaction(self.__pool) as connection:
                with translate_errors("", _SECONDS):
                    if await connection.fetchval("SELECT to_regclass($1)", LEDGER) is None:
                        await connection.execute(LEDGER_TABLE)
                        await connection.execute("COMMIT")
        except DatabaseDown:
            raise
        except ToolFailure as error:
            raise ToolFailure(_NO_LEDGER) from error
        self._has_ledger = True

    async def execute(self, proposal: Proposal, asked_by: str, approved_by: str) -> str:
        """Run an approved statement unless it has run already; return the outcome for the model.

        Raises `ToolFailure` if it did not run, or if that is unknown. Cancellation waits until it has ended.
        """
        path = proposal.facts.get(_PATH)
        approved = ApprovedStatement(
            request=proposal.id,
            change=await asyncio.to_thread(check, proposal.action),  # exactly what was shown
            rows=proposal.facts[_ROWS],
            is_tried=bool(proposal.facts.get(_IS_TRIED, True)),
            path=None if path is None else tuple(path),
            settings=proposal.facts.get(_SETTINGS, {}),
            asked_by=asked_by,
            approved_by=approved_by,
        )
        running = asyncio.ensure_future(self._repeat(approved))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # else asyncio reports an unretrieved error
            raise

    async def health(self) -> Health:
        """Report if changes are possible. Never raises."""
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
        """Return a sentence on whether an approved statement has run, according to the ledger."""
        try:
            async with _write_transaction(self.__pool, REHEARSAL_SECONDS) as connection:
                with translate_errors("", REHEARSAL_SECONDS):
                    entry = await connection.fetchrow(_CARRIED_OUT, proposal.id)
        except ToolFailure:
            return texts.outcome_unknown(LEDGER, proposal.id)
        if entry is None or entry["statement"] != proposal.action:
            return texts.NOT_CARRIED_OUT
        return texts.carried_out(entry["rows"])

    async def _repeat(self, approved: ApprovedStatement) -> str:
        repeated = AsyncRetrying(
            retry=retry_if_exception_type(DatabaseDown),
            stop=stop_after_attempt(self._tries),
            wait=wait_exponential(multiplier=0.5, max=5),
            reraise=True,
        )
        try:
            outcome: str = await repeated(self._once, approved)
        except DatabaseDown as error:
            raise ToolFailure(_UNKNOWN.format(request=approved.request)) from error
        return outcome

    async def _once(self, approved: ApprovedStatement) -> str:
        async with _write_transaction(self.__pool) as connection:
            if not await _claim(connection, approved):
                await _require_ours(connection, approved)
                log.info("change already executed", extra={"request": approved.request})
                return _done_text(approved.rows)
            statement = approved.change.statement
            with discreet(statement.text, _SECONDS):
                await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}")
                if approved.path is not None:
                    await _understand_alike(connection, approved.path, approved.settings)
                await require_harmless(connection, statement, is_change=True)
                rows = await _run(connection, statement.text)
            if rows != approved.rows:
                now = count(rows, "row") if approved.is_tried else "another number of rows"
                raise ToolFailure(_OTHERWISE.format(rows=now, approved=approved.rows))
            with discreet("", _SECONDS):
                await connection.execute("COMMIT")
        log.info("change executed", extra={"request": approved.request, "rows": rows})
        return _done_text(rows)


def _effect(change: Change, rows: int, rehearsal: Rehearsal) -> str:
    match change.tree:
        case ast.InsertStmt():
            return texts.would_add(rows, change.table, rehearsal.untried)
        case ast.DeleteStmt():
            return texts.would_delete(rows, change.table, rehearsal.untried)
        case _:
            return texts.would_change(rows, change.table, rehearsal.untried)


def approved_rows(proposal: Proposal) -> int:
    """Return the number of rows that an approved statement changes: it runs with no other."""
    rows: int = proposal.facts[_ROWS]
    return rows


def _done_text(rows: int) -> str:
    return f"A person approved this, and it was done: {count(rows, 'row')}."


@asynccontextmanager
async def _write_transaction(pool: Pool, seconds: int = _SECONDS) -> AsyncIterator[Connection]:
    """Yield a connection in a transaction that is rolled back unless the body commits it."""
    async with acquire(pool, seconds) as connection:
        with translate_errors("", seconds):
            await connection.execute(_BEGIN.format(seconds=seconds))
            if seconds == REHEARSAL_SECONDS:
                await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}")
        yield connection


async def _understand_alike(
    connection: Connection, path: tuple[str, ...], settings: Mapping[str, str]
) -> None:
    """Apply the search path and settings of the reading role. Raises `ToolFailure`."""
    for name, value in settings.items():
        await connection.execute("SELECT set_config($1, $2, true)", name, value)
    await connection.execute("SELECT set_config('search_path', $1, true)", ", ".join(map(quote, path)))
    found = await connection.fetchval("SELECT current_schemas(false)::text[]")
    hidden = sorted(set(path) - set(found))
    _require(
        tuple(found) == path,
        f"The role that makes changes does not see the schema {', '.join(hidden)}, which the reading role "
        "has in its search path: names could mean something else to it. The operator can grant it USAGE.",
    )


async def _claim(connection: Connection, approved: ApprovedStatement) -> bool:
    """Insert the statement into the ledger; return False if it is there already.

    Waits for a concurrent run. Raises `DatabaseDown` if that takes too long, because its outcome is unknown.
    """
    entry = (
        approved.request,
        approved.change.statement.text,
        approved.rows,
        approved.asked_by,
        approved.approved_by,
    )
    try:
        with translate_errors("", _SECONDS):
            return await connection.fetchval(_CLAIM, *entry) is not None
    except ToolFailure as error:
        if isinstance(error.__cause__, asyncpg.QueryCanceledError):
            raise DatabaseDown("The change is being carried out by somebody else.") from error
        raise


async def _require_ours(connection: Connection, approved: ApprovedStatement) -> None:
    """Raise `ToolFailure` if the ledger's entry belongs to another statement with the same short id."""
    with translate_errors("", _SECONDS):
        entry = await connection.fetchrow(_CARRIED_OUT, approved.request)
    ours = (approved.change.statement.text, approved.asked_by)
    if entry is None or (entry["statement"], entry["asked_by"]) != ours:
        log.error("ledger entry of another request found", extra={"request": approved.request})
        raise ToolFailure(_TAKEN_NAME.format(request=approved.request))


async def _run(connection: Connection, statement: str) -> int:
    """Run a statement and return the number of changed rows from its status (`INSERT 0 3`)."""
    prepared = await connection.prepare(statement)
    await prepared.fetch()
    return int((prepared.get_statusmsg() or "0").rpartition(" ")[2])


_UNKNOWN = (
    "The database could not be reached, and it is unknown whether the statement ran. It ran if the table "
    f"{LEDGER} has a row for request {{request}}.\nAsk the user to check that."
)

_TAKEN_NAME = (
    f"Nothing was changed: the table {LEDGER} has another change with the id {{request}}.\nRequest this "
    "change again, which gives it another id."
)

_OTHERWISE = (
    "Nothing was changed: the statement would now change {rows}, not {approved:,} as when it was approved.\n"
    "Look at the data again, and request the change again if it is still wanted."
)

_MAY_ENTER = """
SELECT has_table_privilege(to_regclass($1), 'SELECT') AND has_table_privilege(to_regclass($1), 'INSERT')
"""

_MAY_CHANGE = """
SELECT CASE $2 WHEN 'DELETE' THEN has_table_privilege(to_regclass($1), $2)
               ELSE has_any_column_privilege(to_regclass($1), $2) END
"""

_POWERS = """
SELECT bool_or(rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication)
       OR bool_or(rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'))
  FROM pg_roles WHERE rolname IN (current_user, session_user) OR (rolname LIKE 'pg\\_%server%' AND
                      pg_has_role(oid, 'USAGE'))
"""

_TOO_POWERFUL = (
    "Changes are switched off, because the role in DATABASE_WRITE_URL may do far more than that. The "
    "operator must set a role as described in docs/approvals.md."
)

_NO_LEDGER = (
    f"Nothing can be changed yet: the table {LEDGER} is missing, and the bot may not create it. The operator "
    "can do that as described in docs/approvals.md."
)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ToolFailure(otherwise)
