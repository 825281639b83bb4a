"""Functions that extensions brought along: PostgreSQL cannot keep what is written in C from doing anything.

A read-only transaction stops a function written in SQL or PL/pgSQL from writing. It does not stop one that
opens a connection, writes a page of a table by itself, or runs a program.
"""

import re
from collections.abc import Set

from bot.tools.failure import ToolFailure
from bot.tools.sql_pool import Connection

_VOLATILE = """
SELECT DISTINCT p.proname::text
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE p.proname = ANY($1::text[]) AND p.provolatile = 'v' AND n.nspname <> 'pg_catalog'
 ORDER BY 1
"""

_FOREIGN = """
SELECT DISTINCT p.proname::text
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE p.proname = ANY($1::text[]) AND p.provolatile = 'v' AND NOT l.lanpltrusted
   AND n.nspname <> 'pg_catalog'
 ORDER BY 1
"""

_HARMLESS = re.compile(
    r"""
    gen_random_.* | gen_salt | uuid_generate_.* | normal_rand     # volatile because of chance
    | show_limit | st_.*                                          # PostGIS
    | time_bucket_gapfill | locf | interpolate                    # TimescaleDB, which plans around them
    """,
    re.VERBOSE,
)


async def refuse_hidden_effects(connection: Connection, calls: Set[str]) -> None:
    """Raise `ToolFailure` when one of `calls` may change what the statement does not show."""
    if not calls:
        return
    records = await connection.fetch(_VOLATILE, sorted(calls))
    if names := [record["proname"] for record in records if not _HARMLESS.fullmatch(record["proname"])]:
        raise ToolFailure(
            f"The function {names[0]} is not allowed here: nobody could see what it changes. Write "
            "what it would give into the statement."
        )


async def refuse_foreign(connection: Connection, calls: Set[str]) -> None:
    """Raise `ToolFailure` when one of `calls` is volatile and in a language that is not trusted."""
    if not calls:
        return
    records = await connection.fetch(_FOREIGN, sorted(calls))
    if names := [record["proname"] for record in records if not _HARMLESS.fullmatch(record["proname"])]:
        raise ToolFailure(
            f"The function {names[0]} is not allowed: an extension brought it along, and it may do more than "
            "read tables."
        )
