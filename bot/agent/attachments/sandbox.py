"""Sandboxed child process for untrusted files: no secrets, files or network; limited time and memory."""

import asyncio
import contextlib
import json
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path

from bot.agent.attachments import texts
from bot.chat import FileRefused, Json

_SECONDS = 20.0
_MOST_BYTES = 8 << 20
"""Most bytes of a parser's answer beside the text; no stored picture is larger."""

_BYTES_PER_CHAR = 12
"""Most bytes of one character in JSON, as a pair of surrogates."""

_CHUNK = 64 << 10
_AT_ONCE = 2
_LAUNCHER = Path(__file__).with_name("confinement.py")
_PROGRAM = Path(__file__).with_name("child.py")

_FIELDS: Mapping[str, Mapping[str, type]] = {
    "text": {"text": str, "chars": int, "encoding": str},
    "pdf": {"text": str, "pages": int, "read": int},
    "docx": {"text": str, "macros": bool},
    "xlsx": {"text": str, "macros": bool, "sheets": int},
    "pptx": {"text": str, "macros": bool, "slides": int},
    "html": {"text": str, "macros": bool},
    "picture": {"width": int, "height": int},
}
"""Fields of a parser's answer by kind of file."""

_PROBLEM = re.compile(r"[\w ,;]{1,100}")
_ENCODING = re.compile(r"[\w-]{1,40}")
"""Format of the parser's words outside of the marks around a file's text: no brackets, no line ends."""


class Sandbox:
    """Sandbox for one parser program, which runs in few children at once, each for at most `seconds`."""

    def __init__(self, program: Path = _PROGRAM, seconds: float = _SECONDS) -> None:
        self._program = program
        self._seconds = seconds
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def parse(self, kind: str, content: bytes, limit: int) -> tuple[Mapping[str, Json], bytes]:
        """Return the parser's answer about a file, and the bytes that follow it. Raises `FileRefused`.

        A malicious file may control the child, so its answer is bounded and checked.
        """
        async with self._room:
            output = await self._run(kind, content, limit)
        told, _, rest = output.partition(b"\n")
        if not told:  # killed at a limit
            raise FileRefused(texts.TOO_EXPENSIVE)
        answer = _answer(told, _FIELDS[kind])
        if problem := answer.get("problem"):
            raise FileRefused(str(problem))
        return answer, rest

    async def _run(self, kind: str, content: bytes, limit: int) -> bytes:
        """Run a child and return its output. Raises `FileRefused`."""
        command = sys.executable, "-I", str(_LAUNCHER), str(self._program), kind, str(limit)
        try:
            child = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, cwd="/"
            )
        except OSError as error:  # no process or memory is available
            raise FileRefused(texts.NOT_OPENED) from error
        try:
            async with asyncio.timeout(self._seconds):
                return await _exchange(child, content, _MOST_BYTES + _BYTES_PER_CHAR * limit)
        except TimeoutError as error:
            raise FileRefused(texts.TOO_SLOW) from error
        finally:
            await _end(child)


async def _exchange(child: Process, content: bytes, most: int) -> bytes:
    """Return all output of the child. Raises `FileRefused` if it is more than `most` bytes."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(content)  # sent while the output is read
    child.stdin.close()
    output = bytearray()
    while chunk := await child.stdout.read(_CHUNK):
        output += chunk
        if len(output) > most:
            raise FileRefused(texts.TOO_EXPENSIVE)
    return bytes(output)


def _answer(output: bytes, fields: Mapping[str, type]) -> Mapping[str, Json]:
    """Return an answer with these fields or a `problem`. Raises `FileRefused` for any other."""
    try:
        answer: Json = json.loads(output)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and _PROBLEM.fullmatch(str(answer.get("problem") or "")):
        return answer
    is_sound = isinstance(answer, dict) and all(
        type(answer.get(name)) is kind for name, kind in fields.items()
    )
    if not is_sound or not _ENCODING.fullmatch(str(answer.get("encoding", "none"))):
        raise FileRefused(texts.DAMAGED)
    return {name: answer[name] for name in fields}


async def _end(child: Process) -> None:
    """Kill the child and discard its output: asyncio waits until the output is read."""
    assert child.stdout is not None
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    while await child.stdout.read(_CHUNK):
        pass
    await child.wait()
