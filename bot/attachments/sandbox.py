"""A process for untrusted files: no secrets, no files, no network, and limits on time and memory."""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path

from bot.chat import FileRefused, Json

SECONDS = 20.0
_AT_ONCE = 2
_LAUNCHER = Path(__file__).with_name("confined.py")
_PROGRAM = Path(__file__).with_name("child.py")

_room = asyncio.Semaphore(_AT_ONCE)


async def opened(what: str, content: bytes, limit: int) -> tuple[Mapping[str, Json], bytes]:
    """Return what the child tells of a file, and the bytes that came with it. Raises `FileRefused`."""
    async with _room:
        command = sys.executable, "-I", str(_LAUNCHER), str(_PROGRAM), what, str(limit)
        child = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, cwd="/"
        )
        try:
            async with asyncio.timeout(SECONDS):
                output, _ = await child.communicate(content)
        except TimeoutError as error:
            raise FileRefused("it takes too long to open") from error
        finally:
            await _end(child)
    told, _, rest = output.partition(b"\n")
    if not told:  # killed for what it took
        raise FileRefused("it takes too much to open")
    answer: dict[str, Json] = json.loads(told)
    if problem := answer.get("problem"):
        raise FileRefused(str(problem))
    return answer, rest


async def _end(child: Process) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
