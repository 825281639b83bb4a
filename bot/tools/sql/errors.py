"""Translation of asyncpg's errors to texts that help the model to fix its query or to inform the user."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from bot.tools.errors import ToolFailure
from bot.tools.sql.format import point_at

log = logging.getLogger(__name__)

_MAX_MESSAGE_CHARS = 1_000  # PostgreSQL quotes invalid values, however long they are

UNREACHABLE = "The database cannot be reached at the moment.\nSay so, and suggest trying again in a minute."

BUSY = "The database is busy: all connections are in use.\nSay so, and suggest trying again in a minute."

CONNECTION_ERRORS = (
    OSError,  # includes TimeoutError
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)

_UNKNOWN_NAME = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
)

_ADVICE: dict[type[asyncpg.PostgresError], str] = {
    asyncpg.QueryCanceledError: "The query took longer than {seconds:g} s and was stopped.\nMake it cheaper: "
    "filter on indexed columns, or query a shorter period.",
    asyncpg.LockNotAvailableError: "The table is locked by somebody else at the moment. Try again later.",
    asyncpg.ReadOnlySQLTransactionError: "Only reading is possible.",
}


class DatabaseDown(ToolFailure):
    """Database that did not answer, so that it is unknown whether a statement ran."""


class DatabaseBusy(DatabaseDown):
    """Pool without a free connection; nothing was done."""


class UnknownName(ToolFailure):
    """Query with the name of a table, column or function that does not exist."""


@contextmanager
def translate_errors(query: str, seconds: float) -> Iterator[None]:
    """Raise `ToolFailure` for asyncpg's errors; `seconds` is the time limit of the query."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        # the error may contain addresses and names that are for operators only
        log.warning("database unreachable", extra={"error": repr(error)})
        raise DatabaseDown(UNREACHABLE) from error
    except asyncpg.InternalClientError as error:  # pseudo-types, such as the anyarray of pg_stats
        raise ToolFailure("A column has a type that cannot be read.\nCast the column to text.") from error
    except asyncpg.PostgresError as error:
        kind = UnknownName if isinstance(error, _UNKNOWN_NAME) else ToolFailure
        raise kind(_describe(error, query, seconds)) from error


@contextmanager
def discreet(query: str, seconds: float) -> Iterator[None]:
    """Raise `ToolFailure` without the server's text, which may quote values that the user may not read.

    For changes; the position of an error in the text of `query` is shown.
    """
    try:
        with translate_errors(query, seconds):
            yield
    except DatabaseDown:
        raise
    except ToolFailure as error:
        cause = error.__cause__
        if not isinstance(cause, asyncpg.PostgresError):
            raise
        state = cause.sqlstate or ""
        log.info("change refused by the database", extra={"sqlstate": state})
        reason = _REASONS.get(state) or _REASONS.get(state[:2]) or _REASONS[""]
        place = point_at(query, int(cause.position) - 1) if cause.position and state[:2] == "42" else ""
        told = f"It cannot run: {reason.format(seconds=seconds)} (SQLSTATE {state})."
        kind = UnknownName if isinstance(error, UnknownName) else ToolFailure
        raise kind(f"{told}\n{place}".rstrip()) from None


_REASONS = {
    "0A": "PostgreSQL cannot do this",
    "21": "a sub-select gives more rows than one",
    "22": "a value has the wrong format, or is out of range",
    "23502": "it leaves a column without a value that must have one",
    "23503": "it violates foreign keys: other rows refer to it, or what it refers to is missing",
    "23505": "it violates unique constraints: there is such a row already",
    "23514": "it violates check constraints of the table",
    "23": "it violates constraints of the table",
    "25006": "that database can only be read",
    "42501": "the role of the bot is not allowed to do this",
    "42601": "its syntax is wrong",
    "42702": "a column is named that more than one table has; write the table before it",
    "42703": "a column that it names does not exist",
    "42704": "a name in it does not exist",
    "42804": "a value has another type than its column; cast it",
    "42883": "a function or an operator in it does not exist for these types",
    "42P01": "a table that it names does not exist, or not under this name here",
    "3F000": "a schema that it names does not exist",
    "42": "a name, a type or its form is wrong",
    "44": "a row would not be in the view any more",
    "53": "the server has not enough room for it",
    "54": "it is too large or too deep for the server",
    "55P03": "the rows are locked by somebody else at the moment. Try again later",
    "57014": "it took longer than {seconds:g} s and was stopped. Change fewer rows at once",
    "40": "it conflicted with another change. Try again",
    "": "the database refuses it",
}
"""Reasons by SQLSTATE, or by its class (first two characters): errcodes-appendix of PostgreSQL's manual."""


def _describe(error: asyncpg.PostgresError, query: str, seconds: float) -> str:
    advice = _ADVICE.get(type(error))
    lines = [
        f"ERROR: {_shorten(str(error.message))} (SQLSTATE {error.sqlstate})",
        point_at(query, int(error.position) - 1) if error.position else "",
        f"DETAIL: {_shorten(error.detail)}" if error.detail else "",
        f"HINT: {_shorten(error.hint)}" if error.hint else "",
        advice.format(seconds=seconds) if advice else "",
    ]
    return "\n".join(line for line in lines if line)


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE_CHARS else text[:_MAX_MESSAGE_CHARS] + "…"
