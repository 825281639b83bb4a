"""Readable tables with their columns, constraints and sample values, from the system catalog."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from bot.tools.sql.deny_list import LEDGER
from bot.tools.sql.errors import translate_errors
from bot.tools.sql.pool import Connection

SECONDS = 10
SAMPLE_SECONDS = 3
_SAMPLE_ROWS = 5_000
_MOST_RELATIONS = 500
_MOST_NAMES = 20_000
_MOST_SAMPLED_COLUMNS = 30
_MOST_VALUES = 12
_VALUE_CHARS = 40

_NAME = """CASE WHEN pg_table_is_visible(c.oid) THEN quote_ident(c.relname)
            ELSE quote_ident(n.nspname) || '.' || quote_ident(c.relname) END"""

# Without partitions, which belong to their parent, the ledger, and tables of extensions.
_READABLE = f"""
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
   AND c.relname <> '{LEDGER}' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
   AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""

_ORDER = " ORDER BY pg_table_is_visible(c.oid) DESC, 1 LIMIT "

_RELATIONS = f"""
SELECT {_NAME} AS name,
       c.relkind::text AS kind,
       c.reltuples::bigint AS rows,
       obj_description(c.oid, 'pg_class') AS comment,
       (SELECT json_agg(json_build_object(
                   'name', quote_ident(a.attname), 'type', format_type(a.atttypid, a.atttypmod),
                   'required', a.attnotnull, 'comment', col_description(c.oid, a.attnum),
                   'is_text', t.typcategory IN ('S', 'E')) ORDER BY a.attnum)
          FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           AND has_column_privilege(c.oid, a.attnum, 'SELECT')) AS columns,
       (SELECT json_agg(pg_get_constraintdef(k.oid) ORDER BY k.contype = 'p' DESC, k.contype DESC, k.conname)
          FROM pg_constraint k
         WHERE k.conrelid = c.oid AND k.contype IN ('p', 'f', 'u', 'c')) AS constraints
{_READABLE}"""  # noqa: S608 - no part of it comes from outside

_NAMES = f"SELECT {_NAME} AS name {_READABLE} {_ORDER} {_MOST_NAMES}"

_NO_SUCH_NAME = (
    asyncpg.InvalidNameError,
    asyncpg.PostgresSyntaxError,  # too many dots
    asyncpg.FeatureNotSupportedError,  # of another database
    asyncpg.InsufficientPrivilegeError,
)


@dataclass(frozen=True, slots=True)
class Column:
    """Column; `name` is quoted where SQL needs it, `is_text` is true for strings and enums."""

    name: str
    type: str
    required: bool
    comment: str | None
    is_text: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """Table or view. `name` is spelled as in a query, `kind` is pg_class.relkind.

    `rows` is PostgreSQL's estimate, or -1; `constraints` are SQL, the primary key first.
    """

    name: str
    kind: str
    rows: int
    comment: str | None
    columns: tuple[Column, ...]
    constraints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalog:
    """Readable relations: details of the first ones, and all names; the search path comes first."""

    relations: tuple[Relation, ...] = ()
    names: tuple[str, ...] = ()


async def read_catalog(connection: Connection) -> Catalog:
    """Return the tables that the role may read. Raises `ToolFailure`."""
    with translate_errors("", SECONDS):
        records = await connection.fetch(f"{_RELATIONS} {_ORDER} {_MOST_RELATIONS}")
        names = await connection.fetch(_NAMES)
    # hundreds of wide tables take a second
    return await asyncio.to_thread(
        lambda: Catalog(tuple(map(_relation, records)), tuple(each["name"] for each in names))
    )


async def read_relation(connection: Connection, name: str) -> Relation | None:
    """Return the relation that `name` means in SQL, or None if it is not readable. Raises `ToolFailure`."""
    with translate_errors("", SECONDS):
        try:
            record = await connection.fetchrow(f"{_RELATIONS} AND c.oid = to_regclass($1)", name)
        except _NO_SUCH_NAME:
            return None
    return None if record is None else _relation(record)


def _relation(record: asyncpg.Record) -> Relation:
    return Relation(
        name=record["name"],
        kind=record["kind"],
        rows=record["rows"],
        comment=record["comment"],
        columns=tuple(Column(**column) for column in json.loads(record["columns"])),
        constraints=tuple(json.loads(record["constraints"] or "[]")),
    )


async def read_values(connection: Connection, relation: Relation) -> Mapping[str, Sequence[str]]:
    """Return the values of each text column that has only a few in the first rows.

    Raises `ToolFailure`, for example if a view takes too long.
    """
    names = [column.name for column in relation.columns if column.is_text][:_MOST_SAMPLED_COLUMNS]
    if not names:
        return {}
    with translate_errors("", SAMPLE_SECONDS):
        record = await connection.fetchrow(_sample(relation.name, names))
    found = zip(names, record.values() if record else (), strict=True)
    return {name: values for name, values in found if 0 < len(values) <= _MOST_VALUES}


def _sample(table: str, columns: Sequence[str]) -> str:
    """Return a query for one array per column, from names that the server has quoted."""
    arrays = ", ".join(
        f"ARRAY(SELECT DISTINCT left({column}::text, {_VALUE_CHARS}) FROM sample"  # noqa: S608 - see above
        f" WHERE {column} IS NOT NULL ORDER BY 1 LIMIT {_MOST_VALUES + 1})"
        for column in columns
    )
    rows = f"SELECT {', '.join(columns)} FROM {table} LIMIT {_SAMPLE_ROWS}"  # noqa: S608 - see above
    return f"WITH sample AS MATERIALIZED ({rows}) SELECT {arrays}"
