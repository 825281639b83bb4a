"""Privileges of the bot's database role: evidence for health, and in production a condition for reading."""

import logging
import time
from dataclasses import dataclass
from typing import Literal, TypeAlias

import asyncpg

from bot.chat import Health
from bot.tools.errors import ToolFailure
from bot.tools.sql.errors import DatabaseBusy, translate_errors
from bot.tools.sql.pool import Connection, Pool, transaction

log = logging.getLogger(__name__)

RolePolicy: TypeAlias = Literal["warn", "refuse", "accept"]
"""Reaction to a role with more than read privileges: degraded health, no reading, or none."""

_SECONDS = 3
_PATIENCE_SECONDS = 2.0
"""Seconds that health waits for a free connection."""

_MOST = 5
_TRUSTED_SECONDS = 60

_ADVICE = "give the bot a role that only reads (docs/database.md)"
_OFF = f"off: {_ADVICE}, or set SQL_ALLOW_PRIVILEGED_ROLE=true"

_REFUSAL = (
    "The database is switched off for the bot, because its role may do more than read.\nSay so, and that the "
    "operator must give the bot a role that only reads; the bot's health shows what the role may do now."
)

_NOT_OF_THE_SYSTEM = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"

_ROLE = f"""
WITH relations AS (
    SELECT c.oid, c.relkind, pg_has_role(c.relowner, 'USAGE') AS is_own,
           has_schema_privilege(n.oid, 'USAGE') AS is_reachable
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {_NOT_OF_THE_SYSTEM})
SELECT current_user AS role,
       current_setting('server_version') AS version,
       ARRAY(SELECT DISTINCT power
               FROM pg_roles r, LATERAL unnest(ARRAY[
                    CASE WHEN rolsuper THEN 'is a superuser' END,
                    CASE WHEN rolcreaterole THEN 'may create roles' END,
                    CASE WHEN rolcreatedb THEN 'may create databases' END,
                    CASE WHEN rolbypassrls THEN 'bypasses row security' END,
                    CASE WHEN rolreplication THEN 'may replicate' END]) AS power
              WHERE rolname IN (current_user, session_user) AND power IS NOT NULL
              ORDER BY 1) AS powers,
       ARRAY(SELECT 'has the rights of ' || rolname FROM pg_roles
              WHERE pg_has_role(oid, 'USAGE') AND rolname IN (
                    'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
                    'pg_execute_server_program', 'pg_signal_backend', 'pg_maintain', 'pg_checkpoint',
                    'pg_create_subscription')
              ORDER BY 1) AS memberships,
       ARRAY(SELECT 'may become ' || rolname FROM pg_roles
              WHERE rolsuper AND rolname NOT IN (current_user, session_user) AND pg_has_role(oid, 'MEMBER')
              ORDER BY 1 LIMIT {_MOST}) AS disguises,
       ARRAY(SELECT 'owns the database ' || datname FROM pg_database
              WHERE datname = current_database() AND pg_has_role(datdba, 'USAGE')) AS databases,
       ARRAY(SELECT 'owns schema ' || nspname FROM pg_namespace n
              WHERE {_NOT_OF_THE_SYSTEM} AND pg_has_role(nspowner, 'USAGE')
              ORDER BY 1 LIMIT {_MOST}) AS schemas,
       ARRAY(SELECT 'owns ' || oid::regclass FROM relations WHERE is_own AND relkind <> 'S'
              ORDER BY 1 LIMIT {_MOST}) AS tables,
       ARRAY(SELECT 'owns function ' || p.oid::regprocedure
               FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
              WHERE {_NOT_OF_THE_SYSTEM} AND pg_has_role(p.proowner, 'USAGE')
              ORDER BY 1 LIMIT {_MOST}) AS functions,
       ARRAY(SELECT 'may create schemas' WHERE has_database_privilege(current_database(), 'CREATE')
              UNION ALL
             (SELECT 'may create in schema ' || nspname FROM pg_namespace n
               WHERE {_NOT_OF_THE_SYSTEM} AND has_schema_privilege(oid, 'CREATE')
               ORDER BY 1 LIMIT {_MOST})) AS creates_in,
       ARRAY(SELECT 'may write ' || oid::regclass FROM relations
              WHERE is_reachable AND NOT is_own
                AND CASE relkind WHEN 'S' THEN has_sequence_privilege(oid, 'USAGE, UPDATE')
                    ELSE has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                         OR has_any_column_privilege(oid, 'INSERT, UPDATE') END
              ORDER BY relkind = 'S', 1 LIMIT {_MOST}) AS writes
"""  # noqa: S608 - no part of it comes from outside

_CONCERNS = (
    "powers",
    "memberships",
    "disguises",
    "databases",
    "schemas",
    "tables",
    "functions",
    "creates_in",
    "writes",
)


@dataclass(frozen=True, slots=True)
class Role:
    """Database role of the bot; `concerns` describe its privileges beyond reading."""

    name: str
    server_version: str
    concerns: tuple[str, ...]


class RoleCheck:
    """Check of the role: a good one is trusted for `trusted_seconds`, a refused one is examined each time.

    `report` waits up to `patience` seconds for a free connection.
    """

    def __init__(
        self,
        policy: RolePolicy,
        trusted_seconds: float = _TRUSTED_SECONDS,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._policy = policy
        self._trusted_seconds = trusted_seconds
        self._patience = patience
        self._trusted_until = -float("inf")
        self._is_refused = False

    async def admit(self, connection: Connection) -> None:
        """Raise `ToolFailure` with advice if the role may not be used."""
        if self._policy == "refuse" and time.monotonic() >= self._trusted_until:
            self._judge(await _examine(connection))
            if self._is_refused:
                raise ToolFailure(_REFUSAL)

    async def report(self, pool: Pool) -> Health:
        """Report the state of Postgres, degraded if its role may do more than read. Never raises."""
        began = time.monotonic()
        try:
            async with transaction(pool, _SECONDS, self._patience) as connection:
                with translate_errors("", _SECONDS):
                    ping_ms = await _ping(connection)
                    role = await _examine(connection)
        except DatabaseBusy:
            return Health(
                name="postgres", state="degraded", evidence={"error": "all connections are at work"}
            )
        except ToolFailure:
            evidence = {"error": "not reachable", "waited_ms": round((time.monotonic() - began) * 1_000, 1)}
            return Health(name="postgres", state="down", evidence=evidence)
        self._judge(role)
        rights = "; ".join(role.concerns) or "reads only"
        evidence = {"ping_ms": ping_ms, "version": role.server_version, "role": role.name, "rights": rights}
        if not role.concerns:
            return Health(name="postgres", state="ok", evidence=evidence)
        match self._policy:
            case "accept":
                evidence["sql_tools"] = "on: accepted by SQL_ALLOW_PRIVILEGED_ROLE"
                return Health(name="postgres", state="ok", evidence=evidence)
            case "refuse":
                evidence["sql_tools"] = _OFF
            case "warn":
                evidence["advice"] = f"{_ADVICE}; in production the SQL tools are off until then"
        return Health(name="postgres", state="degraded", evidence=evidence)

    def _judge(self, role: Role) -> None:
        is_refused = self._policy == "refuse" and bool(role.concerns)
        self._trusted_until = -float("inf") if is_refused else time.monotonic() + self._trusted_seconds
        if is_refused and not self._is_refused:
            log.warning("sql tools disabled", extra={"role": role.name, "rights": "; ".join(role.concerns)})
        if self._is_refused and not is_refused:
            log.info("sql tools enabled", extra={"role": role.name})
        self._is_refused = is_refused


async def _examine(connection: Connection) -> Role:
    record = await connection.fetchrow(_ROLE)
    assert record is not None
    return Role(record["role"], record["version"], _concerns(record))


def _concerns(record: asyncpg.Record) -> tuple[str, ...]:
    return tuple(concern for name in _CONCERNS for concern in record[name])


async def _ping(connection: Connection) -> float:
    began = time.monotonic()
    await connection.execute("SELECT 1")
    return round((time.monotonic() - began) * 1_000, 1)
