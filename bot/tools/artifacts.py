"""Tool artifacts: the model receives a description, the user receives the file and the number of rows.

A tool with `response_format="content_and_artifact"` returns both. LangChain stores the artifact in the
`ToolMessage`, which is part of the checkpoint, and does not send it to the model.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import NamedTuple

from langchain_core.messages import ToolMessage

from bot.chat import File, Json

_FILES = "files"
_TABLE = "table"

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


def artifact_of(files: Iterable[File] = (), size: TableSize | None = None) -> Json:
    """Return the artifact for these files, and for a table of this size."""
    shown = [asdict(file) for file in files]
    return ({_FILES: shown} if shown else {}) | ({_TABLE: list(size)} if size else {})


def size_of(result: ToolMessage) -> TableSize | None:
    """Return the size of the table in a result, if its tool has reported it."""
    artifact = result.artifact
    stored = artifact.get(_TABLE) if isinstance(artifact, dict) else None
    match stored:
        case [int(rows), int(columns), bool(is_cut)] if 0 <= rows <= _MOST_ROWS:
            return TableSize(rows, columns, is_cut)
        case _:
            return None


def files_of(result: ToolMessage) -> Sequence[File]:
    """Return the files of a result; none if its artifact is something else, such as that of a plug-in."""
    artifact = result.artifact
    if not isinstance(artifact, dict) or not isinstance(artifact.get(_FILES), list):
        return ()
    try:
        return tuple(File(**each) for each in artifact[_FILES])
    except TypeError:
        return ()
