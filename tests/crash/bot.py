"""The program as a process that is started and killed many times; each start is a fork."""

import json
import os
import re
import signal
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tests.crash import child
from tests.support.forks import FORKS
from tests.support.wait import wait_until


class Bot:
    """One bot; each start begins a new life."""

    def __init__(
        self,
        environ: Mapping[str, str],
        log: Path,
        *,
        is_faulty: bool = False,
        is_hasty: bool = True,
    ) -> None:
        """`is_faulty` installs `tests.support.hanging_bot`; `is_hasty` reads the history often.

        A hasty bot also starts sessions on Discord without a pause.
        """
        self._environ = dict(environ)
        self._options = is_faulty, is_hasty
        self._log = log
        self._begins_at = 0
        self._process: ForkServerProcess | None = None

    def start(self) -> None:
        """Start a new life."""
        self._begins_at = self._log.stat().st_size if self._log.exists() else 0
        arguments = (self._environ, str(self._log), *self._options)
        self._process = FORKS.Process(target=child.run, args=arguments, daemon=True)
        self._process.start()

    def kill(self) -> None:
        """End the life with SIGKILL, and wait until nothing of it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None

    async def wait_for_end(self, timeout: float = 30) -> int:
        """Wait until this life has ended by itself; return the exit code."""
        await wait_until(lambda: not self.lives, "the end", timeout)
        assert self._process is not None
        assert self._process.exitcode is not None
        return self._process.exitcode

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to this life."""
        assert self._process is not None
        assert self._process.pid is not None
        os.kill(self._process.pid, which)

    @property
    def output(self) -> str:
        """Return the output of this life."""
        return self._output().decode()

    async def ready(self) -> None:
        """Wait until this life serves."""
        await wait_until(lambda: bool(self.log_lines("ready")) or not self.lives, "ready", timeout=30)
        assert self.lives, self._log.read_text()

    @property
    def lives(self) -> bool:
        """Return True if it was started and has not ended."""
        return self._process is not None and self._process.is_alive()

    @property
    def url(self) -> str:
        """Return the HTTP address of this life."""
        return str(self.log_lines("listening")[-1]["page"])

    @property
    def log(self) -> list[dict[str, Any]]:
        """Return the log of all lives; a life may end in the middle of a line."""
        return _entries(self._log.read_bytes())

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of this life for one event."""
        return [each for each in _entries(self._output()) if each["event"] == event]

    def _output(self) -> bytes:
        return self._log.read_bytes()[self._begins_at :] if self._log.exists() else b""


def _entries(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in re.findall(rb"^\{.*\}$", output, re.MULTILINE)]
