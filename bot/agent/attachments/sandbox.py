"""A process for untrusted files: no secrets, no files, no network, and limits on time and memory."""

import asyncio
import contextlib
import json
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path

from bot.chat import FileRefused, Json

SECONDS = 20.0
MOST_BYTES = 8 << 20
"""Bytes that a parser may answer beside the text that is wanted: more is kept of no picture."""

_BYTES_PER_CHAR = 12
"""What JSON makes of a character at most, as a pair of surrogates."""

_CHUNK = 64 << 10
_AT_ONCE = 2
_LAUNCHER = Path(__file__).with_name("confinement.py")
_PROGRAM = Path(__file__).with_name("child.py")

_TOO_MUCH = "it takes too much to open"
_DAMAGED = "it is damaged, or not what its name says"
_FIELDS: Mapping[str, Mapping[str, type]] = {
    "text": {"text": str, "chars": int, "encoding": str},
    "pdf": {"text": str, "pages": int, "read": int},
    "picture": {"width": int, "height": int},
}
"""What is told of each kind of file."""

_PROBLEM = re.compile(r"[\w ,;]{1,100}")
_ENCODING = re.compile(r"[\w-]{1,40}")
"""Words of the parser that stand outside of the marks around a file's text: no brackets, no lines."""

_room = asyncio.Semaphore(_AT_ONCE)


async def opened(what: str, content: bytes, limit: int) -> tuple[Mapping[str, Json], bytes]:
    """Return what the child tells of a file, and the bytes that came with it. Raises `FileRefused`.

    The child may have been taken over by the file: whatever it sends is bounded and checked.
    """
    async with _room:
        command = sys.executable, "-I", str(_LAUNCHER), str(_PROGRAM), what, str(limit)
        try:
            child = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, cwd="/"
            )
        except OSError as error:  # there is no process or memory left for it
            raise FileRefused("it cannot be opened at the moment") from error
        try:
            async with asyncio.timeout(SECONDS):
                output = await _exchange(child, content, MOST_BYTES + _BYTES_PER_CHAR * limit)
        except TimeoutError as error:
            raise FileRefused("it takes too long to open") from error
        finally:
            await _end(child)
    told, _, rest = output.partition(b"\n")
    if not told:  # killed for what it took
        raise FileRefused(_TOO_MUCH)
    answer = _answer(told, _FIELDS[what])
    if problem := answer.get("problem"):
        raise FileRefused(str(problem))
    return answer, rest


async def _exchange(child: Process, content: bytes, most: int) -> bytes:
    """Return all that the child writes. Raises `FileRefused` when that is more than `most` bytes."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(content)  # sent while we read
    child.stdin.close()
    output = bytearray()
    while chunk := await child.stdout.read(_CHUNK):
        output += chunk
        if len(output) > most:
            raise FileRefused(_TOO_MUCH)
    return bytes(output)


def _answer(told: bytes, fields: Mapping[str, type]) -> Mapping[str, Json]:
    """Return an answer with these fields, or with a `problem`. Raises `FileRefused` for any other."""
    try:
        answer: Json = json.loads(told)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and _PROBLEM.fullmatch(str(answer.get("problem") or "")):
        return answer
    is_sound = isinstance(answer, dict) and all(
        type(answer.get(name)) is kind for name, kind in fields.items()
    )
    if not is_sound or not _ENCODING.fullmatch(str(answer.get("encoding", "none"))):
        raise FileRefused(_DAMAGED)
    return {name: answer[name] for name in fields}


async def _end(child: Process) -> None:
    """End the child and forget what it still says: it counts as ended only when its output is read."""
    assert child.stdout is not None
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    while await child.stdout.read(_CHUNK):
        pass
    await child.wait()
