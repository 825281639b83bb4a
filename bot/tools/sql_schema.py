"""The database described for a model: tables, columns, keys, comments, sizes, sample values."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from bot.tools.failure import ToolFailure
from bot.tools.sql_catalog import Column, Relation, read_relations, read_values
from bot.tools.sql_format import cell
from bot.tools.sql_pool import Pool

log = logging.getLogger(__name__)

_FRESH_SECONDS = 300
_MOST_CHARS = 12_000
_MOST_NAME_CHARS = 200
_MOST_NAMES = 50
_KINDS = {"r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table"}


class Schema:
    """The relations that the role may read. What was read is kept for some minutes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self.forget()

    def forget(self) -> None:
        """Read anew at the next question: a query has just shown that something has changed."""
        self._relations: tuple[Relation, ...] = ()
        self._values: dict[str, Mapping[str, Sequence[str]]] = {}
        self._read_at = -float("inf")

    async def names(self) -> str:
        """A sentence with the names of the tables. Raises `ToolFailure`."""
        return _listed(await self._all())

    async def describe(self, table: str | None = None) -> str:
        """One table in detail, or all in short. Raises `ToolFailure`, also for a table that is not there."""
        relations = await self._all()
        if not table:
            return await asyncio.to_thread(_overview, relations)
        relation = await asyncio.to_thread(_find, table[:_MOST_NAME_CHARS], relations)
        return _details(relation, await self._sample_values(relation))

    async def _all(self) -> tuple[Relation, ...]:
        async with self._lock:
            if time.monotonic() - self._read_at > _FRESH_SECONDS:
                self.forget()
                self._relations = await read_relations(self._pool)
                self._read_at = time.monotonic()
            return self._relations

    async def _sample_values(self, relation: Relation) -> Mapping[str, Sequence[str]]:
        if relation.name not in self._values:
            try:
                self._values[relation.name] = await read_values(self._pool, relation)
            except ToolFailure as error:  # a view that is slow or broken is still worth describing
                log.warning("no sample values", extra={"table": relation.name, "error": str(error)})
                return {}
        return self._values[relation.name]


def _find(table: str, relations: Sequence[Relation]) -> Relation:
    """The relation of that name, spelled with or without quotes, capitals and schema."""
    name = _plain(table)
    by_name = {_plain(relation.name): relation for relation in relations}
    if found := by_name.get(name) or by_name.get(name.removeprefix("public.")):
        return found
    for relation in relations:
        if _plain(relation.name).rpartition(".")[2] == name:
            return relation
    near = get_close_matches(name, by_name, n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(by_name[each].name for each in near)}?" if near else ""
    raise ToolFailure(f"There is no table {table!r}.{meant} {_listed(relations)}")


def _plain(name: str) -> str:
    return name.replace('"', "").strip().lower()


def _listed(relations: Sequence[Relation]) -> str:
    if not relations:
        return "There are no tables that may be read."
    names = ", ".join(relation.name for relation in relations[:_MOST_NAMES])
    rest = len(relations) - _MOST_NAMES
    return f"The tables are {names}" + (f" and {rest} more." if rest > 0 else ".")


def _overview(relations: Sequence[Relation]) -> str:
    if not relations:
        return _listed(relations)
    text = "\n".join(map(_summary, relations))
    if len(text) > _MOST_CHARS:
        text = _bounded("\n".join(map(_title, relations)))
    return f"{text}\n\nCall sql_schema with a table's name for more on its columns."


def _title(relation: Relation) -> str:
    is_stored = relation.kind in ("r", "p", "m")
    size = f", about {relation.rows:,} rows" if is_stored and relation.rows >= 0 else ""
    return f"{relation.name} ({_KINDS[relation.kind]}{size}){_comment(relation.comment)}"


def _summary(relation: Relation) -> str:
    columns = ", ".join(f"{column.name} {column.type}" for column in relation.columns)
    keys = [each for each in relation.constraints if each.startswith(("PRIMARY", "FOREIGN"))]
    return "\n  ".join([_title(relation), columns, *keys])


def _details(relation: Relation, values: Mapping[str, Sequence[str]]) -> str:
    columns = [_described(column, values.get(column.name, ())) for column in relation.columns]
    return _bounded("\n".join([_title(relation), *columns, *relation.constraints]))


def _bounded(text: str) -> str:
    """As many whole lines as may be shown."""
    if len(text) <= _MOST_CHARS:
        return text
    return text[:_MOST_CHARS].rpartition("\n")[0] + "\n… and more; information_schema has the rest"


def _described(column: Column, values: Sequence[str]) -> str:
    required = " NOT NULL" if column.required else ""
    seen = f" (values such as {', '.join(map(repr, values))})" if values else ""
    return f"- {column.name} {column.type}{required}{_comment(column.comment)}{seen}"


def _comment(comment: str | None) -> str:
    return f": {cell(comment)}" if comment else ""
