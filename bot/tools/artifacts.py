"""Tool artifacts: the model receives a description, the user receives the file.

A tool with `response_format="content_and_artifact"` returns both. LangChain stores the artifact in the
`ToolMessage`, which is part of the checkpoint, and does not send it to the model.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from langchain_core.messages import ToolMessage

from bot.chat import File, Json

_FILES = "files"


def file_name(subject: str, content: bytes, suffix: str) -> str:
    """Return a name that depends on the day and the content: `sales-2026-05-01-1a2b3c4d.png`."""
    slug = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:40].strip("-") or "file"
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"{slug}-{datetime.now(UTC):%Y-%m-%d}-{digest}.{suffix}"


def artifact_of(files: Iterable[File]) -> Json:
    """Return the artifact for these files."""
    return {_FILES: [asdict(file) for file in files]}


def files_of(result: ToolMessage) -> Sequence[File]:
    """Return the files of a result; none if its artifact is something else, such as that of a plug-in."""
    artifact = result.artifact
    if not isinstance(artifact, dict) or not isinstance(artifact.get(_FILES), list):
        return ()
    try:
        return tuple(File(**each) for each in artifact[_FILES])
    except TypeError:
        return ()
