"""Rehearsal of a change: its effect, computed by reading as the reading role.

The change is not approved yet. So the rehearsal must not reveal anything that this role cannot read: not by
an error, a count, or by success that depends on hidden rows.
"""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.tools.errors import ToolFailure
from bot.tools.sql import texts
from bot.tools.sql.change import Change, matching_rows, reading_part
from bot.tools.sql.pool import Connection
from bot.tools.sql.resolution import calls_own_code

REHEARSAL_SECONDS = 5
"""Time limit: the change is not approved, and it may hold locks."""

MOST_ROWS = 10_000
"""Most rows that a change from a chat may affect."""

_MOST_TRIED_ROWS = 1_000
_MOST_CHARS = 1_000_000
_MOST_ESTIMATED_ROWS = 20 * MOST_ROWS  # estimates are often wrong by a factor of ten
_MOST_COST = 2_000_000  # about a minute if everything is read from disk


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Effect of a change, with the search path and the settings that give its text a meaning.

    `untried` is the reason why the writing role must not try it before an approval; empty if the outcome
    depends on nothing hidden.
    """

    rows: int
    path: tuple[str, ...]
    settings: Mapping[str, str]
    untried: str


async def rehearse(connection: Connection, change: Change) -> Rehearsal:
    """Plan and count a change by its reading part. Raises `ToolFailure` and asyncpg's errors."""
    await connection.prepare(change.statement.text)  # errors of names and types, at their places
    await _require_readable(connection, change)
    schema = await _schema_of_target(connection, change)
    reading = reading_part(change, schema)
    await _require_small_plan(connection, reading)
    rows, chars = await _count(connection, reading)
    if change.joins:
        rows, _ = await _count(connection, matching_rows(change, schema))
    _require(rows <= MOST_ROWS, f"It would change more than {MOST_ROWS:,} rows, which is too many at once.")
    _require(
        chars <= _MOST_CHARS,
        f"Its values have more than {_MOST_CHARS:,} characters, which is too many at once.",
    )
    untried = await _reason_against_trying(connection, change, rows)
    _require(
        not (untried and change.skips_conflicts),
        f"ON CONFLICT is not possible: how many rows it would skip cannot be told, because {untried}.\n"
        "Exclude them with WHERE NOT EXISTS.",
    )
    path = await connection.fetchval("SELECT current_schemas(false)::text[]")
    records = await connection.fetch(_SETTINGS, list(_UNDERSTOOD_BY))
    settings = {name: value for name, value in records}  # noqa: C416 - a record is no pair to the type checker
    return Rehearsal(rows, tuple(path), settings, untried)


async def _require_readable(connection: Connection, change: Change) -> None:
    """Raise `ToolFailure` with the name of a table that is not readable."""
    mentions = change.statement.mentions
    names = [each.sql for each in mentions.relations if each.schema or each.name not in mentions.with_queries]
    closed = await connection.fetchval(_CLOSED, names)
    _require(closed is None, f"{closed} cannot be read, so no statement can name it.")


async def _schema_of_target(connection: Connection, change: Change) -> str:
    schema: str | None = await connection.fetchval(_SCHEMA, change.target.sql)
    _require(schema is not None, f"There is no table {change.table}.")
    is_system = str(schema) == "information_schema" or str(schema).startswith("pg_")
    _require(not is_system, f"{change.table} cannot be changed.")
    return str(schema)


async def _require_small_plan(connection: Connection, reading: str) -> None:
    [plan] = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {reading}"))
    top: Mapping[str, Any] = plan["Plan"]
    _require(
        top["Plan Rows"] <= _MOST_ESTIMATED_ROWS and top["Total Cost"] <= _MOST_COST,
        "It would be too much work: PostgreSQL expects far more rows or reading than a change from a chat "
        "may take.\nName fewer rows, by indexed columns.",
    )


async def _count(connection: Connection, reading: str) -> tuple[int, int]:
    """Return the number of rows, and the number of characters of their computed values."""
    record = await connection.fetchrow(
        "SELECT count(*), coalesce(sum(length(CAST(counted.* AS text))), 0)::bigint"  # noqa: S608 - printed by us
        f" FROM (SELECT * FROM (\n{reading}\n) AS wanted LIMIT {MOST_ROWS + 1}) AS counted"
    )
    assert record is not None
    return record[0], record[1]


async def _reason_against_trying(connection: Connection, change: Change, rows: int) -> str:
    """Return why a trial could reveal hidden data, or an empty string if it could not."""
    if rows > _MOST_TRIED_ROWS:
        return texts.many_rows(_MOST_TRIED_ROWS)
    named = [each.sql for each in change.statement.mentions.relations]
    record = await connection.fetchrow(_DEPENDS, change.target.sql, named)
    assert record is not None
    for name, reason in texts.UNTRIED.items():
        if record[name]:
            return reason
    if await calls_own_code(connection, change.statement.mentions):
        return texts.OWN_CODE
    return ""


_UNDERSTOOD_BY = ("TimeZone", "DateStyle", "IntervalStyle", "transform_null_equals", "array_nulls")

_SETTINGS = "SELECT name, current_setting(name) FROM unnest($1::text[]) AS asked (name)"

_CLOSED = """
SELECT min(name) FROM unnest($1::text[]) AS asked (name)
 WHERE NOT has_any_column_privilege(to_regclass(name), 'SELECT')
"""

_SCHEMA = """
SELECT n.nspname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass($1)
"""

_DEPENDS = """
WITH RECURSIVE target (oid) AS (
    SELECT to_regclass($1)::oid
    UNION
    SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN target t ON i.inhparent = t.oid),
family (oid) AS (
    TABLE target
    UNION
    SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN family f ON i.inhrelid = f.oid),
keys AS (
    SELECT * FROM pg_catalog.pg_constraint
     WHERE contype = 'f' AND (conrelid IN (TABLE target) OR confrelid IN (TABLE target))),
read (oid) AS (
    TABLE target
    UNION SELECT conrelid FROM keys
    UNION SELECT confrelid FROM keys
    UNION SELECT to_regclass(name)::oid FROM unnest($2::text[]) AS named (name)),
depending (classid, objid) AS (
    SELECT 'pg_catalog.pg_class'::regclass, f.oid FROM family f
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::regclass, c.oid FROM pg_catalog.pg_constraint c
     WHERE c.conrelid IN (TABLE target)
        OR c.contypid IN (SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid IN (TABLE target))
    UNION ALL
    SELECT 'pg_catalog.pg_attrdef'::regclass, d.oid FROM pg_catalog.pg_attrdef d
     WHERE d.adrelid IN (TABLE target)
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, x.indexrelid FROM pg_catalog.pg_index x
     WHERE x.indrelid IN (TABLE target))
SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger
                WHERE tgrelid IN (TABLE target) AND NOT tgisinternal AND tgenabled <> 'D')
       OR EXISTS (SELECT FROM pg_catalog.pg_rewrite WHERE ev_class IN (TABLE target)) AS runs_triggers,
       EXISTS (SELECT FROM keys WHERE confrelid IN (TABLE target)
                  AND (confdeltype NOT IN ('a', 'r') OR confupdtype NOT IN ('a', 'r'))) AS reaches_others,
       EXISTS (SELECT FROM pg_catalog.pg_class c
                WHERE c.oid IN (TABLE read)
                  AND (c.relkind NOT IN ('r', 'p', 'm') OR c.relrowsecurity
                       OR NOT has_schema_privilege(c.relnamespace, 'USAGE')
                       OR NOT has_table_privilege(c.oid, 'SELECT'))) AS is_hidden,
       EXISTS (SELECT FROM pg_catalog.pg_depend p JOIN depending d USING (classid, objid)
                WHERE p.refclassid IN ('pg_catalog.pg_proc'::regclass,
                                       'pg_catalog.pg_operator'::regclass))
       OR EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                   WHERE a.attrelid IN (TABLE read) AND a.attnum > 0 AND NOT a.attisdropped
                     AND t.typnamespace <> 'pg_catalog'::regnamespace AND t.typtype <> 'e') AS runs_functions
"""


class Allowance:
    """Rate limit of a user's rehearsals per hour, in this process."""

    def __init__(self, most: int, seconds: float = 3600) -> None:
        self._most = most
        self._seconds = seconds
        self._times: dict[str, deque[float]] = {}

    def use(self, person: str, now: float) -> None:
        """Count a rehearsal at the time `now`. Raises `ToolFailure` beyond the limit."""
        for each in [who for who, made in self._times.items() if made[-1] <= now - self._seconds]:
            del self._times[each]
        made = self._times.setdefault(person, deque())
        while made and made[0] <= now - self._seconds:
            made.popleft()
        _require(
            len(made) < self._most,
            f"This user has had {self._most} changes prepared within an hour, which is the limit.\nSay so; "
            "it is possible again later.",
        )
        made.append(now)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ToolFailure(otherwise)
