"""Lifecycle of one embedded server that several processes may share: start, watch, stop."""

import asyncio
import fcntl
import hashlib
import logging
import os
import shutil
import signal
import stat
import sys
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from bot.chat import BotError
from bot.storage.embedded.locks import (
    LOOK_EVERY,
    hold_lock,
    is_free,
    take_lock,
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
"""Environment of child processes: no secrets of the bot, and no PG… variables, which Postgres reads."""


class EmbeddedError(BotError):
    """Server that cannot run here; `str()` tells the operator what to do, and which variable to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Configuration of one server in `directory`, the same for all processes that share it.

    `sockets` is its `socket_directory`; `variable` is the setting that replaces it; `run_as` is a command
    prefix that changes the user; `stale` files are removed before a start, because only the lock shows if a
    server runs; `answers` pings the server.
    """

    name: str
    variable: str
    directory: Path
    sockets: Path
    command: Sequence[str]
    stop_signal: signal.Signals
    answers: Callable[[], Awaitable[bool]]
    run_as: Sequence[str] = ()
    stale: Sequence[Path] = ()

    @property
    def lock(self) -> Path:
        """Return the lock file of the supervisor and the server."""
        return self.directory / "server.lock"

    @property
    def users(self) -> Path:
        """Return the lock file of all users (shared), and of the supervisor while it stops the server."""
        return self.directory / "users.lock"

    @property
    def log(self) -> Path:
        """Return the log file of the supervisor and the server."""
        return self.directory / "server.log"


@asynccontextmanager
async def run_server(server: Server) -> AsyncIterator[None]:
    """Start or join the server and watch it; the last user waits until it has stopped.

    Raises `EmbeddedError` if it does not start.
    """
    try:
        async with hold_lock(server.users, fcntl.LOCK_SH):
            await _start(server)
            logger.info("embedded server ready", extra={"server": server.name, "log": str(server.log)})
            watch = asyncio.create_task(_watch(server), name=f"watch embedded {server.name}")
            try:
                yield
            finally:
                watch.cancel()
                await asyncio.wait({watch})
    finally:
        await _wait_for_stop(server)
        _remove_private_sockets(server)


async def _start(server: Server) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            # more than one attempt: a running server may be about to stop
            for _ in range(START_ATTEMPTS):
                await _launch(server)
                while not is_free(server.lock):
                    if await server.answers():
                        return
                    await asyncio.sleep(LOOK_EVERY)
    except TimeoutError as error:
        raise _start_error(server, f"does not answer within {START_SECONDS} s") from error
    raise _start_error(server, "ends at once")


async def _launch(server: Server) -> None:
    """Start a supervisor, which exits if another one is running; so any number of users may call this."""
    _make_private_sockets(server)
    arguments = (str(int(server.stop_signal)), *map(str, server.stale), "--", *server.command)
    with _open_log(server) as log:
        await run(
            (*server.run_as, sys.executable, "-I", "-S", str(SUPERVISOR), *arguments), server.directory, log
        )


async def run(command: Sequence[str], directory: Path, log: BinaryIO, keep: Sequence[int] = ()) -> int:
    """Run a command to its end and return its exit code; the descriptors `keep` are inherited.

    It runs in its own session, so that Ctrl-C in the terminal does not reach it.
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
    """Restart the server whenever it has died, with growing delays while that fails."""
    delay = WATCH_EVERY
    while True:
        await asyncio.sleep(delay)
        if not is_free(server.lock):
            delay = WATCH_EVERY
            continue
        delay = min(2 * delay, MAX_WATCH_EVERY)
        logger.warning("embedded server died, restarting", extra={"server": server.name})
        try:
            await _launch(server)
        except (OSError, EmbeddedError):
            logger.exception("embedded server restart failed", extra={"server": server.name})


async def _wait_for_stop(server: Server) -> None:
    """Wait until the server has stopped, unless others use it."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await until(lambda: is_free(server.lock) or _others_use(server))
    except TimeoutError:
        logger.warning("embedded server not stopped", extra={"server": server.name})


def _others_use(server: Server) -> bool:
    # in this order: the supervisor, which takes it exclusively, may come between the two checks
    return not is_free(server.users, fcntl.LOCK_EX) and is_free(server.users, fcntl.LOCK_SH)


def _open_log(server: Server) -> BinaryIO:
    if server.log.exists() and server.log.stat().st_size > MAX_LOG_BYTES:
        server.log.replace(server.log.with_suffix(".log.1"))
    return server.log.open("ab")


def _start_error(server: Server, what: str) -> EmbeddedError:
    last_lines = server.log.read_text(errors="replace")[-1500:]
    return EmbeddedError(
        f"The embedded {server.name} {what}. Set {server.variable} to a server of your own, or move "
        f"{server.directory} away to begin with no data. {server.log.name} there ends with:\n{last_lines}"
    )


def make_directory(data_dir: Path, name: str, variable: str) -> Path:
    """Create and return the server's folder in `data_dir`, readable only for its user."""
    directory = (data_dir / name).resolve()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(
            f"{directory} cannot be created ({error}): set DATA_DIR, or {variable}"
        ) from error
    for path in (directory, *directory.glob("[a-z]*.lock")):
        if not os.access(path, os.R_OK | os.W_OK):
            raise EmbeddedError(f"{path} belongs to another user: set DATA_DIR, or {variable}")
    return directory


def socket_directory(directory: Path, socket_name: str) -> Path:
    """Return the folder of the server's socket: `directory`, or a private one if that path is too long.

    The private one, in the temp folder, exists while the server has users.
    """
    if len(os.fsencode(directory / socket_name)) <= MAX_SOCKET_PATH:
        return directory
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"bot-{os.geteuid()}-{digest}"


def _make_private_sockets(server: Server) -> None:
    """Create the private folder, if there is one. The caller holds the lock of the users."""
    if server.sockets == server.directory:
        return
    server.sockets.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(server.sockets):
        raise EmbeddedError(f"{server.sockets} is not a private directory of this user: remove it")


def _remove_private_sockets(server: Server) -> None:
    """Remove the private folder, unless the server still runs, or has other users."""
    if server.sockets == server.directory or not is_free(server.lock):
        return
    with suppress(FileNotFoundError), take_lock(server.users, fcntl.LOCK_EX) as has_no_users:
        if has_no_users and _is_private(server.sockets):
            shutil.rmtree(server.sockets, ignore_errors=True)


def _is_private(directory: Path) -> bool:
    """Return False if another user may have created the folder: a socket there is not to be trusted."""
    found = directory.lstat()
    return (found.st_mode, found.st_uid) == (stat.S_IFDIR | 0o700, os.geteuid())


def package_directory(name: str) -> Path | None:
    """Return the folder of a package without importing it, or None if it is not installed."""
    spec = find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
