"""Files that tools make: the words are for the model, the file itself goes to the people.

A tool with `response_format="content_and_artifact"` returns both; LangChain keeps the artifact beside the
words in the `ToolMessage`, which the checkpoint holds, and gives it to no model.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from langchain_core.messages import ToolMessage

from bot.chat import File, Json

_FILES = "files"


def file_name(subject: str, content: bytes, ending: str) -> str:
    """A name that is another one each day and for each content: `sales-2026-05-01-1a2b3c4d.png`."""
    slug = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:40].strip("-") or "file"
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"{slug}-{datetime.now(UTC):%Y-%m-%d}-{digest}.{ending}"


def artifact_of(files: Iterable[File]) -> Json:
    """The artifact that names these files."""
    return {_FILES: [asdict(file) for file in files]}


def files_of(result: ToolMessage) -> Sequence[File]:
    """The files that a tool has made; none when its artifact is something else, such as a foreign tool's."""
    artifact = result.artifact
    if not isinstance(artifact, dict) or not isinstance(artifact.get(_FILES), list):
        return ()
    try:
        return tuple(File(**each) for each in artifact[_FILES])
    except TypeError:
        return ()
