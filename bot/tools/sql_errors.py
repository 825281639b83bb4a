"""What asyncpg raises, in words that let a model mend its query or tell a person what is wrong."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from bot.tools.failure import ToolFailure
from bot.tools.sql_format import point_at

log = logging.getLogger(__name__)

_MAX_MESSAGE_CHARS = 1_000  # PostgreSQL quotes the value that it could not read, however long it is

UNREACHABLE = "The database cannot be reached at the moment. Say so, and suggest to try again in a minute."

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
    asyncpg.QueryCanceledError: "The query took longer than {seconds:g} s and was stopped. Make it cheaper: "
    "filter on indexed columns, or look at a shorter time.",
    asyncpg.LockNotAvailableError: "The table is locked by somebody else at the moment. Try again later.",
    asyncpg.ReadOnlySQLTransactionError: "Only reading is possible.",
}


class DatabaseDown(ToolFailure):
    """The database did not answer, so that nobody knows whether it has done what it was told."""


class UnknownName(ToolFailure):
    """The query names a table, column or function that does not exist."""


@contextmanager
def translated(query: str, seconds: float) -> Iterator[None]:
    """Raise `ToolFailure` for the errors of asyncpg; `seconds` is how long the query may take."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        # what the error says may hold addresses and names that are for operators only
        log.warning("database not reached", extra={"error": repr(error)})
        raise DatabaseDown(UNREACHABLE) from error
    except asyncpg.InternalClientError as error:  # pseudo-types, such as the anyarray of pg_stats
        raise ToolFailure("A column has a type that cannot be read: cast it to text.") from error
    except asyncpg.PostgresError as error:
        kind = UnknownName if isinstance(error, _UNKNOWN_NAME) else ToolFailure
        raise kind(_described(error, query, seconds)) from error


def _described(error: asyncpg.PostgresError, query: str, seconds: float) -> str:
    advice = _ADVICE.get(type(error))
    lines = [
        f"ERROR: {_shortened(str(error.message))} (SQLSTATE {error.sqlstate})",
        point_at(query, int(error.position) - 1) if error.position else "",
        f"DETAIL: {_shortened(error.detail)}" if error.detail else "",
        f"HINT: {_shortened(error.hint)}" if error.hint else "",
        advice.format(seconds=seconds) if advice else "",
    ]
    return "\n".join(line for line in lines if line)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE_CHARS else text[:_MAX_MESSAGE_CHARS] + "…"
