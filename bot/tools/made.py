"""Files that tools make: the words are for the model, the file itself goes to the people.

A tool with `response_format="content_and_artifact"` returns both; LangChain keeps the artifact beside the
words in the `ToolMessage`, which the checkpoint holds, and gives it to no model.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from langchain_core.messages import ToolMessage

from bot.chat import File, Json

_FILES = "files"


def naming(files: Iterable[File]) -> Json:
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
