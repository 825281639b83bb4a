"""The embedded servers, always the real ones; other bots are real processes, and are really killed."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bot.storage.embedded import EmbeddedError, embedded_postgres, embedded_redis
from bot.storage.embedded.locks import is_free
from bot.storage.embedded.redis import RedisBuild, installed_builds
from tests.support.wait import wait_until

ROOT = Path(__file__).parent.parent

ANOTHER_BOT = """
import asyncio, signal, sys
from pathlib import Path
from redis.asyncio import Redis
from bot.storage.embedded import embedded_postgres, embedded_redis

async def main(data_dir):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    async with embedded_redis(data_dir) as url, embedded_postgres(data_dir), Redis.from_url(url) as client:
        await client.set("said", "hello")
        print("ready", flush=True)
        await stop.wait()
        await client.set("said", "goodbye")

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A DATA_DIR; when the test is over no process works there any more."""
    yield tmp_path
    assert processes(tmp_path) == []


@pytest.fixture(scope="session")
async def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DATA_DIR with a Postgres that was made, and stopped."""
    data_dir = tmp_path_factory.mktemp("pristine")
    async with embedded_postgres(data_dir):
        pass
    return data_dir / "postgres"


@pytest.fixture
def made(data_dir: Path, pristine: Path) -> Path:
    """A DATA_DIR that has its cluster already, which saves the time to make it."""
    return with_cluster(data_dir, pristine)


def with_cluster(data_dir: Path, pristine: Path) -> Path:
    data_dir.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", pristine, data_dir], check=True)  # keeps the owner
    return data_dir


def processes(data_dir: Path, program: str = "") -> list[int]:
    """Ids of the processes at work below `data_dir` that run `program`; Postgres' children are left out."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            directory = (entry / "cwd").readlink()
            running, _, _ = (entry / "cmdline").read_text().replace("\0", " ").partition(" ")
        except OSError:  # gone, or another user's
            continue
        if directory.is_relative_to(data_dir) and running.endswith(program) and running != "postgres:":
            found.append(int(entry.name))
    return found


def servers(data_dir: Path) -> list[int]:
    return processes(data_dir / "redis", "/redis-server") + processes(data_dir / "postgres", "/postgres")


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it went with its parent
        os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def another_bot(data_dir: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that uses both servers, in a process group of its own, as a shell would start it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ANOTHER_BOT, data_dir, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def execute_as_owner(dsn: str, query: str) -> object:
    """Run a statement in the sample database with all privileges, and give the first value."""
    connection = await asyncpg.connect(dsn, user="postgres")
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def said(url: str) -> object:
    async with Redis.from_url(url, decode_responses=True) as client:
        return await client.get("said")


async def test_redis_has_json_and_search_and_keeps_every_write(data_dir: Path) -> None:
    async with embedded_redis(data_dir) as url, Redis.from_url(url, decode_responses=True) as client:
        execute: Callable[..., Awaitable[str]] = client.execute_command  # has no types itself
        schema = ("ON", "JSON", "PREFIX", "1", "doc:", "SCHEMA", "$.word", "AS", "word", "TAG")
        assert await execute("FT.CREATE", "docs", *schema) == "OK"
        await client.json().set("doc:1", "$", {"word": "hello"})
        found = await client.ft("docs").search("@word:{hello}")
        assert [each.id for each in found.docs] == ["doc:1"]
        settings = await client.config_get("appendonly", "save", "maxmemory-policy", "port")
        assert settings == {"appendonly": "yes", "save": "", "maxmemory-policy": "noeviction", "port": "0"}


async def test_statements_that_fail_leave_nothing_in_the_log_of_postgres(made: Path) -> None:
    """They hold what people asked for, and a log that nobody rotates would grow with each."""
    log = made / "postgres" / "server.log"
    async with embedded_postgres(made) as dsn:
        connection = await asyncpg.connect(dsn)
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute("select 'a-value-of-a-person' from nowhere")
        await connection.close()
        text = log.read_text()
    assert "a-value-of-a-person" not in text
    assert "nowhere" not in text
    assert "database system is ready" in text


async def test_data_survives_a_restart(made: Path) -> None:
    async with embedded_redis(made) as url, embedded_postgres(made) as dsn:
        async with Redis.from_url(url) as client:
            await client.set("said", "hello")
        await execute_as_owner(dsn, "INSERT INTO regions VALUES (9, 'Moon')")
    assert processes(made) == []
    async with embedded_redis(made) as url, embedded_postgres(made) as dsn:
        assert await said(url) == "hello"
        assert await execute_as_owner(dsn, "SELECT name FROM regions WHERE id = 9") == "Moon"


async def test_two_data_directories_do_not_collide(made: Path, pristine: Path) -> None:
    other = with_cluster(made / "other", pristine)
    async with embedded_redis(made) as url, embedded_redis(other) as other_url:
        async with Redis.from_url(url) as client:
            await client.set("said", "hello")
        assert await said(other_url) is None
        async with embedded_postgres(made) as dsn, embedded_postgres(other) as other_dsn:
            await execute_as_owner(dsn, "INSERT INTO regions VALUES (9, 'Moon')")
            assert await execute_as_owner(other_dsn, "SELECT count(*) FROM regions") == 4


async def test_servers_stop_by_themselves_when_the_last_bot_was_killed(made: Path) -> None:
    async with another_bot(made) as bot:
        assert len(servers(made)) == 2
        kill(bot.pid)
    await wait_until(lambda: processes(made) == [], "both servers and their supervisors have ended")


async def test_start_right_after_kill_of_the_bot_finds_the_data_and_one_server_each(made: Path) -> None:
    async with another_bot(made) as bot:
        kill(bot.pid)
    async with embedded_redis(made) as url, embedded_postgres(made) as dsn:
        assert await said(url) == "hello"
        assert await execute_as_owner(dsn, "SELECT count(*) > 0 FROM orders")
        assert len(servers(made)) == 2


async def test_start_after_everything_was_killed_at_once(made: Path) -> None:
    """As after a power cut: pid files and sockets of dead servers are in the way."""
    async with another_bot(made) as bot:
        for pid in (bot.pid, *processes(made)):
            kill(pid)
    assert (made / "postgres/cluster/postmaster.pid").exists()
    assert (made / "redis/redis.sock").exists()
    async with embedded_redis(made) as url, embedded_postgres(made) as dsn:
        assert await said(url) == "hello"
        assert await execute_as_owner(dsn, "SELECT count(*) > 0 FROM orders")


async def test_processes_share_the_servers_and_the_first_to_leave_does_not_stop_them(made: Path) -> None:
    async with another_bot(made) as bot:
        started = sorted(servers(made))
        async with embedded_redis(made) as url, embedded_postgres(made) as dsn:
            bot.send_signal(signal.SIGINT)
            assert await bot.wait() == 0
            assert sorted(servers(made)) == started
            assert await said(url) == "goodbye"
            assert await execute_as_owner(dsn, "SELECT count(*) > 0 FROM orders")


async def test_bots_that_start_at_once_get_the_same_servers(data_dir: Path) -> None:
    """On an empty DATA_DIR: the cluster and the sample are made once."""
    async with asyncio.timeout(30), asyncio.TaskGroup() as starts:
        bots = [another_bot(data_dir) for _ in range(2)]
        for bot in bots:
            starts.create_task(bot.__aenter__())
    assert len(servers(data_dir)) == 2
    async with asyncio.TaskGroup() as stops:
        for bot in bots:
            stops.create_task(bot.__aexit__(None, None, None))
    await wait_until(lambda: processes(data_dir) == [], "all has ended")


async def test_ctrl_c_reaches_the_bot_alone_and_it_can_still_write(made: Path) -> None:
    async with another_bot(made) as bot:
        assert bot.pid not in {os.getpgid(pid) for pid in processes(made)}
        os.killpg(bot.pid, signal.SIGINT)
        assert await bot.wait() == 0
    assert processes(made) == []
    async with embedded_redis(made) as url:
        assert await said(url) == "goodbye"


@pytest.mark.parametrize("victim", ["server", "supervisor"])
async def test_killed_redis_comes_back_with_its_data_at_the_same_address(data_dir: Path, victim: str) -> None:
    async with embedded_redis(data_dir) as url:
        async with Redis.from_url(url) as client:
            await client.set("said", "hello")
        [server] = servers(data_dir)
        [supervisor] = set(processes(data_dir)) - {server}
        kill(server if victim == "server" else supervisor)
        await wait_until(lambda: servers(data_dir) not in ([], [server]), "another server runs")
        await wait_until(lambda: has_said(url, "hello"), "it answers with the data")


async def has_said(url: str, text: str | None) -> bool:
    try:
        return await said(url) == text
    except RedisError:
        return False


@pytest.mark.parametrize("victim", ["server", "supervisor"])
async def test_killed_postgres_comes_back_with_its_data_at_the_same_address(made: Path, victim: str) -> None:
    async with embedded_postgres(made) as dsn:
        await execute_as_owner(dsn, "INSERT INTO regions VALUES (9, 'Moon')")
        [server] = servers(made)
        [supervisor] = set(processes(made)) - {server}
        kill(server if victim == "server" else supervisor)
        await wait_until(lambda: servers(made) not in ([], [server]), "another server runs")
        await wait_until(lambda: has_regions(dsn, 5), "it answers with the data")


async def has_regions(dsn: str, number: int) -> bool:
    try:
        return await execute_as_owner(dsn, "SELECT count(*) FROM regions") == number
    except (OSError, asyncpg.PostgresError):
        return False


async def test_stopped_server_is_waited_for_and_not_replaced(data_dir: Path) -> None:
    """SIGSTOP tells the supervisor of a change in its child, which is no death."""
    async with embedded_redis(data_dir) as url:
        before = processes(data_dir)
        [server] = servers(data_dir)
        for _ in range(3):
            os.kill(server, signal.SIGSTOP)
            await wait_until(lambda: state(server) == "T", "it is stopped")
            os.kill(server, signal.SIGCONT)
            assert await said(url) is None
            assert processes(data_dir) == before


async def test_no_second_server_writes_while_the_first_is_not_dead(data_dir: Path) -> None:
    async with embedded_redis(data_dir) as url:
        [server] = servers(data_dir)
        [supervisor] = set(processes(data_dir)) - {server}
        os.kill(server, signal.SIGSTOP)
        kill(supervisor)
        await wait_until(lambda: processes(data_dir) == [server], "the supervisor is gone")
        assert not is_free(data_dir / "redis/server.lock")
        os.kill(server, signal.SIGCONT)
        await wait_until(lambda: servers(data_dir) not in ([], [server]), "another server runs")
        await wait_until(lambda: has_said(url, None), "it answers")


def state(pid: int) -> str:
    return of_process(pid, "stat").rpartition(")")[2].split()[0]


def of_process(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


@pytest.mark.parametrize("victim", ["bot and initdb", "bot"])
async def test_cluster_that_was_not_finished_is_begun_anew(data_dir: Path, victim: str) -> None:
    """An initdb that survives the bot is waited for."""
    unfinished = data_dir / "postgres/cluster.new"
    bot = await asyncio.create_subprocess_exec(sys.executable, "-c", ANOTHER_BOT, data_dir, cwd=ROOT)
    await wait_until(lambda: (unfinished / "base").exists(), "initdb is at work")
    for pid in (bot.pid, *(processes(data_dir / "postgres") if victim == "bot and initdb" else ())):
        kill(pid)
    await bot.wait()
    assert unfinished.exists()
    async with embedded_postgres(data_dir) as dsn:
        assert await execute_as_owner(dsn, "SELECT count(*) > 0 FROM orders")
    assert not unfinished.exists()


async def test_sample_that_was_not_finished_is_made(made: Path) -> None:
    """A kill between the making of the database and the end of the transaction that fills it."""
    async with embedded_postgres(made) as dsn:
        await execute_as_owner(dsn, "DROP SCHEMA public CASCADE")
        await execute_as_owner(dsn, "CREATE SCHEMA public")
    async with embedded_postgres(made) as dsn:
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SELECT count(*) FROM orders") > 3000
        await connection.close()


async def test_pid_file_that_names_an_unrelated_process_stops_nothing(made: Path, unrelated: int) -> None:
    directory = made / "postgres"
    text = f"{unrelated}\n{directory / 'cluster'}\n0\n5432\n{directory}\n\n  0  0\nready\n"
    for stale in (directory / "cluster/postmaster.pid", directory / ".s.PGSQL.5432.lock"):
        stale.write_text(text)
        shutil.chown(stale, (directory / "cluster").stat().st_uid)
    async with embedded_postgres(made) as dsn:
        assert await execute_as_owner(dsn, "SELECT 1") == 1
    assert state(unrelated) == "S"


@pytest.fixture
def unrelated(made: Path) -> Iterator[int]:
    """A process of the user that Postgres runs as, so that to Postgres it looks like one of its own."""
    owner = (made / "postgres/cluster").stat().st_uid
    with subprocess.Popen(["sleep", "60"], user=owner if os.geteuid() == 0 else None) as process:
        yield process.pid
        process.kill()


async def test_cluster_of_another_major_version_is_refused(made: Path) -> None:
    (made / "postgres/cluster/PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedError, match=r"(?s)DATABASE_URL.*PostgreSQL version 17"):
        async with embedded_postgres(made):
            pass


async def test_deep_data_directory_gets_a_short_private_socket(data_dir: Path) -> None:
    deep = data_dir / ("deep" * 30)
    async with embedded_redis(deep) as url:
        socket = Path(url.removeprefix("unix://"))
        assert len(str(socket)) <= 100
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert await said(url) is None


async def test_a_private_socket_directory_is_removed_with_the_last_user(made: Path, pristine: Path) -> None:
    """Fault: each data directory with a long name left a folder in the temp folder for ever."""
    deep = with_cluster(made / ("deep" * 30), pristine)
    async with AsyncExitStack() as others:
        url = await others.enter_async_context(embedded_redis(deep))
        dsn = await others.enter_async_context(embedded_postgres(deep))
        private = [
            Path(url.removeprefix("unix://")).parent,
            Path(str(parse_qs(urlsplit(dsn).query)["host"][0])),
        ]
        async with embedded_redis(deep), embedded_postgres(deep):
            pass
        assert await said(url) is None
        assert await execute_as_owner(dsn, "SELECT 1") == 1
        assert all(each.is_dir() for each in private)
    assert not any(each.exists() for each in private)
    async with embedded_redis(deep) as url:  # as before
        assert Path(url.removeprefix("unix://")).parent == private[0]


async def test_directory_of_others_is_not_trusted_with_the_socket(data_dir: Path) -> None:
    deep = data_dir / ("deep" * 30)
    async with embedded_redis(deep) as url:
        private = Path(url.removeprefix("unix://")).parent
    private.mkdir(mode=0o755)
    with pytest.raises(EmbeddedError, match="not a private directory"):
        async with embedded_redis(deep):
            pass
    private.rmdir()


async def test_servers_see_no_secret_of_the_bot(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-made-up")
    async with embedded_redis(data_dir):
        for pid in processes(data_dir):
            assert "sk-made-up" not in of_process(pid, "environ")


async def test_missing_programs_are_told_with_the_variable_to_set(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"set REDIS_URL.*redis:8"):
        async with embedded_redis(tmp_path, builds=[]):
            pass
    with pytest.raises(EmbeddedError, match="set DATABASE_URL"):
        async with embedded_postgres(tmp_path, builds=[tmp_path]):
            pass


def test_redis_build_needs_its_modules_and_their_execute_bit(tmp_path: Path) -> None:
    build = next(installed_builds())
    assert build.is_complete()
    assert not RedisBuild(build.server, tmp_path).is_complete()
    for module in build.modules:
        shutil.copy(module, tmp_path)
    assert RedisBuild(build.server, tmp_path).is_complete()
    (tmp_path / "rejson.so").chmod(0o644)
    assert not RedisBuild(build.server, tmp_path).is_complete()


async def test_server_that_cannot_start_is_told_with_its_log(data_dir: Path) -> None:
    async with embedded_redis(data_dir):
        pass
    (data_dir / "redis/appendonlydir/appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(EmbeddedError, match=r"(?s)REDIS_URL.*manifest"):
        async with embedded_redis(data_dir):
            pass
