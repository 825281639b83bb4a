"""What the database role of the bot may do, as evidence for health."""

import time

from bot.chat import Health
from bot.tools.failure import ToolFailure
from bot.tools.sql import Connection, Pool, reading
from bot.tools.sql_errors import translated

_SECONDS = 3
_MOST_TABLES = 5

_ROLE = f"""
SELECT current_user AS role,
       current_setting('server_version') AS version,
       (SELECT array_remove(ARRAY[
                   CASE WHEN rolsuper THEN 'is a superuser' END,
                   CASE WHEN rolcreaterole THEN 'may create roles' END,
                   CASE WHEN rolcreatedb THEN 'may create databases' END,
                   CASE WHEN rolbypassrls THEN 'bypasses row security' END,
                   CASE WHEN rolreplication THEN 'may replicate' END], NULL)
          FROM pg_roles WHERE rolname = current_user) AS powers,
       ARRAY(SELECT rolname::text FROM pg_roles
              WHERE pg_has_role(oid, 'USAGE') AND rolname IN (
                    'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
                    'pg_execute_server_program', 'pg_signal_backend', 'pg_maintain')
              ORDER BY 1) AS memberships,
       ARRAY(SELECT nspname::text FROM pg_namespace
              WHERE nspname NOT LIKE 'pg\\_%' AND has_schema_privilege(oid, 'CREATE')
              ORDER BY 1 LIMIT {_MOST_TABLES}) AS creates_in,
       ARRAY(SELECT c.oid::regclass::text
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname NOT LIKE 'pg\\_%'
                AND n.nspname <> 'information_schema' AND has_schema_privilege(n.oid, 'USAGE')
                AND (has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                     OR has_any_column_privilege(c.oid, 'INSERT, UPDATE'))
              ORDER BY 1 LIMIT {_MOST_TABLES}) AS writes
"""  # noqa: S608 - no part of it comes from outside


async def role_report(pool: Pool) -> Health:
    """Postgres as a part of the bot: degraded when its role may do more than read. Never raises."""
    began = time.monotonic()
    try:
        async with reading(pool, _SECONDS) as connection:
            with translated("", _SECONDS):
                ping_ms = await _ping(connection)
                record = await connection.fetchrow(_ROLE)
    except ToolFailure:
        evidence = {"error": "not reachable", "waited_ms": round((time.monotonic() - began) * 1_000, 1)}
        return Health(name="postgres", state="down", evidence=evidence)
    assert record is not None
    concerns = [
        *record["powers"],
        *(f"has the rights of {name}" for name in record["memberships"]),
        *(f"may create in schema {name}" for name in record["creates_in"]),
        *(f"may write {name}" for name in record["writes"]),
    ]
    rights = "; ".join(concerns) if concerns else "reads only"
    return Health(
        name="postgres",
        state="degraded" if concerns else "ok",
        evidence={"ping_ms": ping_ms, "version": record["version"], "role": record["role"], "rights": rights},
    )


async def _ping(connection: Connection) -> float:
    began = time.monotonic()
    await connection.execute("SELECT 1")
    return round((time.monotonic() - began) * 1_000, 1)
