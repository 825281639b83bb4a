"""Child processes for long computations: few, without secrets, ended with their call, and replaced."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest
from redis.asyncio import Redis

from bot.concurrency.process_pool import ComputeError, open_process_pool
from bot.storage.files import FileStore
from bot.tools.charts.chart import draw
from bot.tools.export import export
from bot.tools.sql.database import Database
from tests.support import computations, sql_database
from tests.support.wait import wait_until

pool = sql_database.pool


def children() -> set[int]:
    """Return the children of the pool; one that ends meanwhile is none."""
    found = set()
    for each in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            found |= {each.pid} if "pool_child" in " ".join(each.cmdline()) else set()
    return found


async def test_a_child_stays_for_further_calls_and_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with open_process_pool() as processes:
        answers = [await processes.run(computations.about_itself) for _ in range(3)]
    assert answers == answers[:1] * 3
    [told, content] = answers[0]
    assert told["pid"] != os.getpid()
    assert "OPENAI_API_KEY" not in told["variables"]
    assert content == b"file"
    assert not children()


async def test_large_arguments_and_answers_are_passed_whole() -> None:
    content = os.urandom(3 << 20)
    async with open_process_pool() as processes:
        _, doubled = await processes.run(computations.double, content)
    assert doubled == content * 2


async def test_no_more_children_run_than_allowed() -> None:
    async with open_process_pool(2) as processes:
        told = await asyncio.gather(*(processes.run(computations.about_itself) for _ in range(8)))
        assert children() == {each["pid"] for each, _ in told}
        assert len(children()) <= 2


@pytest.mark.parametrize(
    "function",
    [computations.fail, computations.end, computations.fill_memory, computations.write_nonsense],
)
async def test_a_call_that_fails_says_so_and_the_next_one_works(
    function: Callable[[], computations.Answer],
) -> None:
    async with open_process_pool() as processes:
        first, _ = await processes.run(computations.about_itself)
        with pytest.raises(ComputeError):
            await processes.run(function)
        second, _ = await processes.run(computations.about_itself)
        assert children() == {second["pid"]}
    assert first["pid"] != second["pid"]


async def test_an_answer_that_is_too_long_is_refused() -> None:
    async with open_process_pool(most_bytes=1_000) as processes:
        with pytest.raises(ComputeError, match="too long"):
            await processes.run(computations.double, bytes(501))


async def test_a_child_that_was_killed_while_idle_is_replaced() -> None:
    async with open_process_pool() as processes:
        told, _ = await processes.run(computations.about_itself)
        os.kill(told["pid"], signal.SIGKILL)
        [child] = processes._idle
        await wait_until(lambda: bool(child.stdout and child.stdout.at_eof()), "its end is known")
        again, _ = await processes.run(computations.about_itself)
    assert again["pid"] != told["pid"]


async def test_a_call_that_takes_too_long_ends_with_its_child() -> None:
    async with open_process_pool(seconds=0.01) as processes:
        with pytest.raises(ComputeError):
            await processes.run(computations.spin)
        assert not children()


async def test_a_cancelled_call_ends_its_child() -> None:
    async with open_process_pool() as processes:
        call = asyncio.create_task(processes.run(computations.spin))
        await wait_until(lambda: len(children()) == 1, "a child")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not children()


async def test_idle_children_end_after_a_while() -> None:
    async with open_process_pool(idle_seconds=0.01) as processes:
        await processes.run(computations.about_itself)
        await wait_until(lambda: not children(), "no child")
        await processes.run(computations.about_itself)


_MAIN = """
import asyncio, sys
from bot.concurrency.process_pool import open_process_pool
from bot.tools.charts.drawing import draw_rows
from bot.tools.sql.format import Column

async def main():
    async with open_process_pool() as processes:
        import pickle
        columns = (Column("a", "int4"), Column("b", "int4"))
        rows = [pickle.dumps([(1, 2), (2, 3)])]
        told, png = await processes.run(draw_rows, columns, rows, "line", "", "", "", is_ordered=False)
        assert png.startswith(b"\\x89PNG"), told
asyncio.run(main())
print({"matplotlib", "numpy", "xlsxwriter"} & set(sys.modules))
"""


async def test_a_chart_leaves_no_drawing_library_in_the_bot() -> None:
    """It takes a second to import and 50 MB."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _MAIN), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert output.decode().strip() == "set()", errors.decode()


async def test_charts_and_exports_are_made_in_a_child(redis: Redis, pool: Database) -> None:
    store = FileStore(redis)
    query = "select n, n * 1.5 as value, 'name ' || n as name from generate_series(1, 300) as n"
    async with open_process_pool() as processes:
        drawn = await draw(pool, store.keep, processes, query, "line", "n", "value", "Values")
        written = await export(pool, store.keep, processes, query)
        book = await export(pool, store.keep, processes, query, format="xlsx")
        assert len(children()) == 1
    for file, begin in ((drawn.file, b"\x89PNG"), (written.file, b"\xef\xbb\xbf"), (book.file, b"PK")):
        found = await store.find(file.id)
        assert found
        assert found[1].startswith(begin)
    assert "300 rows and 3 columns as CSV" in written.words
    assert "| 1 | 1.5 | name 1 |" in book.words
