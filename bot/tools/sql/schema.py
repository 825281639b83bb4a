"""Description of the database for the model: tables, columns, keys, comments, sizes, sample values."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from bot.tools.errors import ToolFailure
from bot.tools.sql.catalog import Catalog, Column, Relation
from bot.tools.sql.database import Database
from bot.tools.sql.format import cell

log = logging.getLogger(__name__)

_FRESH_SECONDS = 300
_MOST_CHARS = 12_000
_MOST_NAME_CHARS = 200
_MOST_NAMES = 50
_MOST_COMPARED = 5_000
_KINDS = {"r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table"}


class Schema:
    """Readable relations, cached for `_FRESH_SECONDS`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self.forget()

    def forget(self) -> None:
        """Read again at the next question: a query has just shown that something has changed."""
        self._catalog = Catalog()
        self._values: dict[str, Mapping[str, Sequence[str]]] = {}
        self._read_at = -float("inf")

    async def names(self) -> str:
        """Return a sentence with the names of the tables. Raises `ToolFailure`."""
        return _list((await self._all()).names)

    async def describe(self, table: str | None = None) -> str:
        """Return one table in detail, or all in short. Raises `ToolFailure`, also for an unknown table."""
        catalog = await self._all()
        if not table:
            return await asyncio.to_thread(_overview, catalog)
        table = table.strip()[:_MOST_NAME_CHARS]
        relation = await self._database.relation(table)
        if relation is None:  # it may exist in another case or in another schema
            meant = await asyncio.to_thread(_find, table, catalog.names)
            relation = await self._database.relation(meant)
        if relation is None:
            raise ToolFailure(f"There is no table {table!r} any more. {_list(catalog.names)}")
        return _details(relation, await self._sample_values(relation))

    async def _all(self) -> Catalog:
        async with self._lock:
            if time.monotonic() - self._read_at > _FRESH_SECONDS:
                self.forget()
                self._catalog = await self._database.catalog()
                self._read_at = time.monotonic()
            return self._catalog

    async def _sample_values(self, relation: Relation) -> Mapping[str, Sequence[str]]:
        if relation.name not in self._values:
            try:
                self._values[relation.name] = await self._database.values(relation)
            except ToolFailure as error:  # a slow or broken view can still be described
                log.warning("sample values unavailable", extra={"table": relation.name, "error": str(error)})
                return {}
        return self._values[relation.name]


def _find(table: str, names: Sequence[str]) -> str:
    """Return the matching name, ignoring quotes, case and schema. Raises `ToolFailure` with suggestions."""
    name = _plain(table)
    by_name = {_plain(each): each for each in reversed(names)}
    if found := by_name.get(name) or by_name.get(name.removeprefix("public.")):
        return found
    for each in names:
        if _plain(each).rpartition(".")[2] == name:
            return each
    near = get_close_matches(name, list(by_name)[-_MOST_COMPARED:], n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(by_name[each] for each in near)}?" if near else ""
    raise ToolFailure(f"There is no table {table!r}.{meant} {_list(names)}")


def _plain(name: str) -> str:
    return name.replace('"', "").strip().lower()


def _list(names: Sequence[str]) -> str:
    if not names:
        return "There are no readable tables."
    rest = len(names) - _MOST_NAMES
    more = f" and {rest:,} more." if rest > 0 else "."
    return f"The tables are {', '.join(names[:_MOST_NAMES])}{more}"


def _overview(catalog: Catalog) -> str:
    if not catalog.names:
        return _list(catalog.names)
    total = len(catalog.names)
    listed = len(catalog.relations)
    text = "\n".join(map(_summary, catalog.relations))
    if len(text) > _MOST_CHARS or listed < total:
        text, listed = _whole_lines(list(map(_title, catalog.relations)))
    if listed < total:
        text += f"\n… and more: only {listed:,} of {total:,} tables are listed; information_schema has all"
    return f"{text}\n\nCall sql_schema with a table's name for more on its columns."


def _whole_lines(lines: Sequence[str]) -> tuple[str, int]:
    """Return as many lines as may be shown, and their number."""
    kept, size = 0, 0
    for line in lines:
        size += len(line) + 1
        if size > _MOST_CHARS:
            break
        kept += 1
    return "\n".join(lines[:kept]), kept


def _title(relation: Relation) -> str:
    is_stored = relation.kind in ("r", "p", "m")
    size = f", about {relation.rows:,} rows" if is_stored and relation.rows >= 0 else ""
    return f"{relation.name} ({_KINDS[relation.kind]}{size}){_comment(relation.comment)}"


def _summary(relation: Relation) -> str:
    columns = ", ".join(f"{column.name} {column.type}" for column in relation.columns)
    keys = [each for each in relation.constraints if each.startswith(("PRIMARY", "FOREIGN"))]
    return "\n  ".join([_title(relation), columns, *keys])


def _details(relation: Relation, values: Mapping[str, Sequence[str]]) -> str:
    columns = [_describe(column, values.get(column.name, ())) for column in relation.columns]
    return _limit("\n".join([_title(relation), *columns, *relation.constraints]))


def _limit(text: str) -> str:
    """Return as many whole lines as may be shown."""
    if len(text) <= _MOST_CHARS:
        return text
    return text[:_MOST_CHARS].rpartition("\n")[0] + "\n… and more; information_schema has the rest"


def _describe(column: Column, values: Sequence[str]) -> str:
    required = " NOT NULL" if column.required else ""
    seen = f" (values such as {', '.join(map(repr, values))})" if values else ""
    return f"- {column.name} {column.type}{required}{_comment(column.comment)}{seen}"


def _comment(comment: str | None) -> str:
    return f": {cell(comment)}" if comment else ""
