"""Tool artifacts: the model receives a description, the user the table, the chart or the file, and its size.

A tool with `response_format="content_and_artifact"` returns both. LangChain stores the artifact in the
`ToolMessage`, which is part of the checkpoint, and does not send it to the model.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import NamedTuple

from langchain_core.messages import AnyMessage, ToolMessage

from bot.chat import Artifact, Chart, File, Json, Table

_FILES = "files"
_SIZE = "table"
"""Key of the size of what a tool has read or changed."""
_CHARTS = "charts"
"""Key of the charts by the ids of their pictures; an earlier version shows the pictures alone."""
_TABLES = "tables"
_VALUES = frozenset({_CHARTS, _TABLES})

_MOST_ROWS = 10**12
"""A larger number of rows is not one that a tool has counted."""


class TableSize(NamedTuple):
    """Size of what a tool has read, written or changed; `is_cut` if the table has further rows.

    `columns` is 0 where they are of no interest, such as those of a file.
    """

    rows: int
    columns: int = 0
    is_cut: bool = False


def file_name(subject: str, content: bytes, suffix: str) -> str:
    """Return a name that depends on the day and the content: `sales-2026-05-01-1a2b3c4d.png`."""
    slug = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:40].strip("-") or "file"
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"{slug}-{datetime.now(UTC):%Y-%m-%d}-{digest}.{suffix}"


def artifact_of(parts: Iterable[Artifact] = (), size: TableSize | None = None) -> Json:
    """Return the artifact for these parts, and for what a tool has read or changed in this size.

    The files of tables are among the files: an earlier version shows these alone.
    """
    parts = list(parts)
    files = [part.file if isinstance(part, Table) else part for part in parts]
    charts = {file.id: asdict(file.chart) for file in files if file.chart}
    tables = [part.to_json() for part in parts if isinstance(part, Table)]
    return {
        **({_FILES: [file.to_json() for file in files]} if parts else {}),
        **({_CHARTS: charts} if charts else {}),
        **({_TABLES: tables} if tables else {}),
        **({_SIZE: list(size)} if size else {}),
    }


def size_of(result: ToolMessage) -> TableSize | None:
    """Return the size of the table in a result, if its tool has reported it."""
    artifact = result.artifact
    stored = artifact.get(_SIZE) if isinstance(artifact, dict) else None
    match stored:
        case [int(rows), int(columns), bool(is_cut)] if 0 <= rows <= _MOST_ROWS:
            return TableSize(rows, columns, is_cut)
        case _:
            return None


def artifacts_of(result: ToolMessage) -> Sequence[Artifact]:
    """Return the tables and files of a result; none if its artifact is that of something else."""
    artifact = result.artifact
    if not isinstance(artifact, dict) or not isinstance(artifact.get(_FILES), list):
        return ()
    try:
        charts = artifact.get(_CHARTS, {})
        tables = [Table.from_json(each) for each in artifact.get(_TABLES, ())]
        of_tables = {table.file.id for table in tables}
        files = [file for each in artifact[_FILES] if (file := File(**each)).id not in of_tables]
        drawn = {file.id: Chart.from_json(charts[file.id]) for file in files if file.id in charts}
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()
    return (*tables, *(replace(file, chart=drawn.get(file.id)) for file in files))


def without_values(messages: Iterable[AnyMessage]) -> list[ToolMessage]:
    """Return the messages whose artifacts have rows of tables or values of charts, without these.

    They are large, and needed only until the users have them.
    """
    return [
        each.model_copy(
            update={"artifact": {key: value for key, value in each.artifact.items() if key not in _VALUES}}
        )
        for each in messages
        if isinstance(each, ToolMessage)
        and isinstance(each.artifact, dict)
        and _VALUES & each.artifact.keys()
    ]


def in_order(parts: Iterable[Artifact]) -> Sequence[Artifact]:
    """Return the parts of one round as users get them: tables, charts, other files."""
    return sorted(parts, key=lambda part: 0 if isinstance(part, Table) else 1 if part.chart else 2)
