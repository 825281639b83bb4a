"""One embedded server that several processes may share: started, watched and stopped. See the package."""

import asyncio
import fcntl
import hashlib
import logging
import os
import signal
import stat
import sys
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from bot.chat import BotError
from bot.storage.embedded.locks import (
    LOOK_EVERY,
    is_free,
    locked,
    until,
)

logger = logging.getLogger(__name__)

START_SECONDS = 60
START_ATTEMPTS = 3
STOP_SECONDS = 40
WATCH_EVERY = 0.25
MAX_WATCH_EVERY = 30.0
MAX_LOG_BYTES = 4_000_000
MAX_SOCKET_PATH = 100
"""Bytes; sun_path holds 108 on Linux and 104 on macOS, with the closing NUL (unix(7))."""

SUPERVISOR = Path(__file__).with_name("supervisor.py")
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
"""What children see of the environment: no secret of the bot, and no PG... variable, which Postgres reads."""


class EmbeddedError(BotError):
    """A server cannot be embedded here; `str()` tells a person what to do, and names the variable to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How one server is run in `directory`: the same for all processes that share it.

    `variable` names the setting that makes it unnecessary. `run_as` goes before every command and changes the
    user. `stale` files are removed before a start: the lock tells for sure whether a server runs. `answers`
    asks the server itself.
    """

    name: str
    variable: str
    directory: Path
    command: Sequence[str]
    stop_signal: signal.Signals
    answers: Callable[[], Awaitable[bool]]
    run_as: Sequence[str] = ()
    stale: Sequence[Path] = ()

    @property
    def lock(self) -> Path:
        """Held by the supervisor and the server."""
        return self.directory / "server.lock"

    @property
    def users(self) -> Path:
        """Held by every user, shared; by the supervisor alone while it stops the server."""
        return self.directory / "users.lock"

    @property
    def log(self) -> Path:
        """What the supervisor and the server print."""
        return self.directory / "server.log"


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[None]:
    """Use the server, started if need be, and watched; the last to leave waits until it has stopped.

    Raises `EmbeddedError` when it does not start.
    """
    try:
        async with locked(server.users, fcntl.LOCK_SH):
            await _start(server)
            logger.info("embedded server ready", extra={"server": server.name, "log": str(server.log)})
            watch = asyncio.create_task(_watch(server), name=f"watch embedded {server.name}")
            try:
                yield
            finally:
                watch.cancel()
                await asyncio.wait({watch})
    finally:
        await _left(server)


async def _start(server: Server) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            # more than one attempt: a server found at its work may be about to stop
            for _ in range(START_ATTEMPTS):
                await _launch(server)
                while not is_free(server.lock):
                    if await server.answers():
                        return
                    await asyncio.sleep(LOOK_EVERY)
    except TimeoutError as error:
        raise _not_started(server, f"does not answer within {START_SECONDS} s") from error
    raise _not_started(server, "ends at once")


async def _launch(server: Server) -> None:
    """Start a supervisor; it stays only where there is none, so any number of users may call this."""
    arguments = (str(int(server.stop_signal)), *map(str, server.stale), "--", *server.command)
    with _open_log(server) as log:
        await run(
            (*server.run_as, sys.executable, "-I", "-S", str(SUPERVISOR), *arguments), server.directory, log
        )


async def run(command: Sequence[str], directory: Path, log: BinaryIO, keep: Sequence[int] = ()) -> int:
    """Run a command to its end and return its exit code.

    Its own session keeps the terminal's Ctrl-C from it. The descriptors `keep` are inherited.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env={name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"LC_ALL": "C"},
        stdin=DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        pass_fds=keep,
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _watch(server: Server) -> None:
    """Start the server anew whenever it has died; less and less often while that fails."""
    delay = WATCH_EVERY
    while True:
        await asyncio.sleep(delay)
        if not is_free(server.lock):
            delay = WATCH_EVERY
            continue
        delay = min(2 * delay, MAX_WATCH_EVERY)
        logger.warning("embedded server died, starting it again", extra={"server": server.name})
        try:
            await _launch(server)
        except OSError:
            logger.exception("embedded server not started", extra={"server": server.name})


async def _left(server: Server) -> None:
    """Return once the server has stopped, at once when others use it."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await until(lambda: is_free(server.lock) or _others_use(server))
    except TimeoutError:
        logger.warning("embedded server does not stop", extra={"server": server.name})


def _others_use(server: Server) -> bool:
    # in this order: the supervisor, who takes it exclusively, may come between the two looks
    return not is_free(server.users, fcntl.LOCK_EX) and is_free(server.users, fcntl.LOCK_SH)


def _open_log(server: Server) -> BinaryIO:
    if server.log.exists() and server.log.stat().st_size > MAX_LOG_BYTES:
        server.log.replace(server.log.with_suffix(".log.1"))
    return server.log.open("ab")


def _not_started(server: Server, what: str) -> EmbeddedError:
    last_lines = server.log.read_text(errors="replace")[-1500:]
    return EmbeddedError(
        f"The embedded {server.name} {what}. Set {server.variable} to a server of your own, or move "
        f"{server.directory} away to begin with no data. {server.log.name} there ends with:\n{last_lines}"
    )


def make_directory(data_dir: Path, name: str, variable: str) -> Path:
    """The server's own folder in `data_dir`, for its user's eyes only."""
    directory = (data_dir / name).resolve()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(f"{directory} cannot be made ({error}): set DATA_DIR, or {variable}") from error
    for path in (directory, *directory.glob("[a-z]*.lock")):
        if not os.access(path, os.R_OK | os.W_OK):
            raise EmbeddedError(f"{path} belongs to another user: set DATA_DIR, or {variable}")
    return directory


def socket_directory(directory: Path, socket_name: str) -> Path:
    """Where the server's socket goes: `directory`, or when that path is too long a private one for it."""
    if len(os.fsencode(directory / socket_name)) <= MAX_SOCKET_PATH:
        return directory
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"bot-{os.geteuid()}-{digest}"
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    # anybody may have made it first: never trust a socket where others can put theirs
    if (found.st_mode, found.st_uid) != (stat.S_IFDIR | 0o700, os.geteuid()):
        raise EmbeddedError(f"{private} is not a private directory of this user: remove it")
    return private


def package_directory(name: str) -> Path | None:
    """Return the folder of an installed package, None when it is not; the package itself is not imported."""
    spec = find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
