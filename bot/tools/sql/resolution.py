"""Check of a statement's names by the objects that they resolve to on the server.

A read-only transaction keeps functions in SQL or PL/pgSQL from writing, but not functions in C that open a
connection, write a page of a table directly, or run a program.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bot.tools.errors import ToolFailure
from bot.tools.sql.deny_list import LEDGER, STATISTICS
from bot.tools.sql.guard import Statement
from bot.tools.sql.mentions import (
    UNKNOWN,
    Mentions,
    Name,
    Source,
)
from bot.tools.sql.pool import Connection

# Built-in functions are looked up only if a refusal depends on them.
_FUNCTIONS = """
SELECT p.proname::text AS name, n.nspname::text AS schema,
       n.nspname = ANY (current_schemas(true)) AS is_visible,
       n.nspname IN ('pg_catalog', 'information_schema')
           OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                       WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid
                         AND d.deptype = 'e') AS is_foreign,
       n.nspname <> 'pg_catalog' AND p.provolatile = 'v' AS is_volatile,
       NOT l.lanpltrusted AS is_untrusted,
       p.pronargs > 0 AND p.pronargs - p.pronargdefaults <= 1 AS takes_one
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE p.proname = ANY ($1::text[]) AND (n.nspname <> 'pg_catalog' OR p.proname = ANY ($2::text[]))
"""

_RELATIONS = f"""
SELECT c.relname = '{LEDGER}' OR n.nspname IN ('pg_catalog', 'information_schema') OR n.nspname LIKE 'pg\\_%'
           OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                       WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                         AND d.deptype = 'e') AS is_foreign
  FROM unnest($1::text[]) WITH ORDINALITY AS asked (name, place)
  LEFT JOIN pg_catalog.pg_class c ON c.oid = to_regclass(asked.name)
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 ORDER BY place
"""  # noqa: S608 - the table's name is ours

_MAY_READ_LEDGER = f"""
SELECT EXISTS (SELECT FROM pg_catalog.pg_class
                WHERE relname = '{LEDGER}' AND relkind IN ('r', 'p')
                  AND has_any_column_privilege(oid, 'SELECT'))
"""  # noqa: S608 - the table's name is ours

_COLUMN = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute
                WHERE attrelid = to_regclass($1) AND attname = $2 AND attnum > 0 AND NOT attisdropped)
 WHERE to_regclass($1) IS NOT NULL
"""

_HARMLESS = re.compile(
    r"""
    gen_random_.* | gen_salt | uuid_generate_.* | normal_rand     # volatile because of chance
    | show_limit | st_.*                                          # PostGIS
    | time_bucket_gapfill | locf | interpolate                    # TimescaleDB, which plans around them
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Function:
    """Function of the server; `is_foreign` if it is built in or belongs to an extension.

    `takes_one`: it can be called with one argument, and so as `t.f` or `(x).f`.
    """

    name: str
    schema: str
    is_visible: bool
    is_foreign: bool
    is_volatile: bool
    is_untrusted: bool
    takes_one: bool

    @property
    def may_do_anything(self) -> bool:
        """Return True if a read-only transaction does not restrict it."""
        return self.is_volatile and self.is_untrusted and not _HARMLESS.fullmatch(self.name)

    @property
    def hides_effects(self) -> bool:
        """Return True if it may have effects that the statement does not show."""
        return self.is_volatile and not _HARMLESS.fullmatch(self.name)


async def require_harmless(connection: Connection, statement: Statement, *, is_change: bool = False) -> None:
    """Raise `ToolFailure` if the statement names objects that do more than read, or that hold secrets.

    In a change no function may have effects, because the approver could not see them.
    """
    mentions = statement.mentions
    await _require_own_relations(connection, mentions)
    functions = await _functions(connection, mentions)
    for call in sorted(mentions.calls, key=lambda each: each.sql):
        found = [each for each in functions if _may_be(call, each)]
        if call.refusal and (not found or any(each.is_foreign for each in found)):
            raise ToolFailure(call.refusal)
        _require_no_effects(found, is_change=is_change)
    for attribute in sorted(mentions.attributes, key=lambda each: each.sql):
        found = [each for each in functions if _may_be_attribute(attribute, each)]
        if found and not await _is_column(connection, attribute, mentions):
            if attribute.refusal and any(each.is_foreign for each in found):
                raise ToolFailure(attribute.refusal)
            _require_no_effects(found, is_change=is_change)
    if is_change:
        types = sorted(each.sql for each in mentions.types)
        hiding = await connection.fetchval(_HIDING, sorted(mentions.operators), types)
        if hiding is not None:
            raise ToolFailure(f"The {hiding} is not allowed here: nobody could see what it changes.")


def _may_be(call: Name, function: Function) -> bool:
    is_reachable = function.schema == call.schema if call.schema else function.is_visible
    return function.name == call.name and is_reachable


def _may_be_attribute(attribute: Name, function: Function) -> bool:
    return function.name == attribute.name and function.is_visible and function.takes_one


def _require_no_effects(functions: Iterable[Function], *, is_change: bool) -> None:
    for each in functions:
        if is_change and each.hides_effects:
            raise ToolFailure(
                f"The function {each.name} is not allowed here: nobody could see what it changes.\n"
                "Write what it would give into the statement."
            )
        if each.may_do_anything:
            raise ToolFailure(
                f"The function {each.name} is not allowed: it belongs to an extension, and may do more "
                "than read tables."
            )


async def calls_own_code(connection: Connection, mentions: Mentions) -> bool:
    """Return True if the statement may use functions, operators or types that are not built in."""
    functions = await _functions(connection, mentions)
    if any(
        _may_be(call, each) for call in mentions.calls for each in functions if each.schema != "pg_catalog"
    ):
        return True
    if any(_may_be_attribute(each, found) for each in mentions.attributes for found in functions):
        return True
    return bool(
        await connection.fetchval(
            _OWN_CODE, sorted(mentions.operators), sorted(each.sql for each in mentions.types)
        )
    )


_HIDING = """
SELECT 'operator ' || o.oprname
  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
 WHERE o.oprname = ANY ($1::text[]) AND o.oprnamespace <> 'pg_catalog'::regnamespace AND p.provolatile = 'v'
UNION ALL
SELECT 'type ' || format_type(c.casttarget, NULL)
  FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
  JOIN unnest($2::text[]) AS asked (name) ON c.casttarget = to_regtype(asked.name)
 WHERE p.oid >= 16384 AND p.provolatile = 'v'
 LIMIT 1
"""

_OWN_CODE = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_operator
                WHERE oprname = ANY ($1::text[]) AND oprnamespace <> 'pg_catalog'::regnamespace)
    OR EXISTS (SELECT FROM unnest($2::text[]) AS asked (name)
                WHERE (SELECT typnamespace FROM pg_catalog.pg_type WHERE oid = to_regtype(asked.name))
                      IS DISTINCT FROM 'pg_catalog'::regnamespace)
    OR EXISTS (SELECT FROM pg_catalog.pg_cast c
                 JOIN pg_catalog.pg_type s ON s.oid = c.castsource
                 JOIN pg_catalog.pg_type t ON t.oid = c.casttarget
                WHERE c.castfunc >= 16384 AND (s.typnamespace = 'pg_catalog'::regnamespace OR s.typtype = 'e')
                  AND (t.typnamespace = 'pg_catalog'::regnamespace OR t.typtype = 'e'))
"""


async def _functions(connection: Connection, mentions: Mentions) -> list[Function]:
    named = mentions.calls | mentions.attributes
    if not named:
        return []
    refused = sorted({each.name for each in named if each.refusal})
    records = await connection.fetch(_FUNCTIONS, sorted({each.name for each in named}), refused)
    return [Function(**record) for record in records]


async def _require_own_relations(connection: Connection, mentions: Mentions) -> None:
    statistics = sorted({each.name for each in mentions.relations} & STATISTICS)
    if statistics and await connection.fetchval(_MAY_READ_LEDGER):
        raise ToolFailure(
            f"The catalog {statistics[0]} cannot be read: it contains values of the table {LEDGER}, which "
            "shows the requests of other users."
        )
    doubtful = [each for each in mentions.relations if each.refusal]
    if not doubtful:
        return
    records = await connection.fetch(_RELATIONS, [each.sql for each in doubtful])
    for name, record in zip(doubtful, records, strict=True):
        is_given = record["is_foreign"] is None and not name.schema and name.name in mentions.with_queries
        if record["is_foreign"] is not False and not is_given:
            raise ToolFailure(name.refusal)


async def _is_column(connection: Connection, attribute: Name, mentions: Mentions) -> bool:
    """Return True if `t.f` is certainly a column: each FROM item called `t`, in any scope, has it."""
    sources = mentions.sources.get(attribute.schema, ())
    for source in (*sources, *mentions.sources.get(UNKNOWN, ())):
        if not await _has_column(connection, source, attribute.name, mentions):
            return False
    return bool(sources)


async def _has_column(connection: Connection, source: Source, column: str, mentions: Mentions) -> bool:
    relation = source.relation
    if relation is None:
        return column in source.columns
    queries = () if relation.schema else mentions.with_queries.get(relation.name, ())
    found: bool | None = await connection.fetchval(_COLUMN, relation.sql, column)
    is_in_queries = all(column in each.columns for each in queries)
    return is_in_queries and (bool(queries) if found is None else found)
