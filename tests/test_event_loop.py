"""The event loop goes on while large files and many rows are handled: other threads wait for no byte of them.

Limits are CPU time of the loop's thread in one callback, which does not depend on other processes.
"""

import asyncio
import base64

import pytest
from redis.asyncio import Redis

from bot.agent.attachments import AttachmentLimits, AttachmentReader
from bot.chat import Attachment, Message, ThreadId
from bot.concurrency.process_pool import ComputeThread
from bot.http.files import SentFile, read_file, store_files
from bot.storage.files import FileStore
from bot.tools.charts.chart import draw
from bot.tools.export import export
from bot.tools.sql.database import Database
from tests.support import sql_database
from tests.support.callbacks import longest_callback
from tests.support.files import pdf

pool = sql_database.pool

MOST_SECONDS = 0.06
"""The whole of such work takes several times as long."""
MIB = 1 << 20


async def test_a_callback_that_computes_is_found() -> None:
    with longest_callback() as longest:
        await asyncio.sleep(0)
        sum(range(10_000_000))
        await asyncio.sleep(0)
    assert longest.seconds > MOST_SECONDS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", "Ein Satz über Wärme, 好 und mehr.\r\n".encode() * 150_000),
        ("lines.csv", b"\r\n" * 3 * MIB),
        ("report.pdf", pdf(*(f"Page {page} of a report." for page in range(100)))),
    ],
)
async def test_a_large_file_is_stored_and_read_in_short_steps(
    redis: Redis, name: str, content: bytes
) -> None:
    files = FileStore(redis)

    class Kept:
        async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
            return await read_file(files, attachment)

    upload = SentFile(name=name, content_base64=base64.b64encode(content).decode())
    reader = AttachmentReader(Kept(), files, AttachmentLimits(), sees_pictures=False)
    with longest_callback() as longest:
        attachments = await store_files(files, [upload])
        message = Message(
            id="m1",
            thread=ThreadId("http", "api", "t1"),
            author="http:api",
            text="what is this?",
            sent_at=0,
            addressed=True,
            direct=True,
            attachments=attachments,
        )
        read = await reader.read(message)
    assert read.problems == ()
    assert longest.seconds < MOST_SECONDS


async def test_an_export_of_many_rows_and_columns_goes_in_short_steps(redis: Redis, pool: Database) -> None:
    columns = ", ".join(f"n % {number} AS c{number}" for number in range(2, 400))
    query = f"select {columns} from generate_series(1, 3000) as n"
    with longest_callback() as longest:
        made = await export(pool, FileStore(redis).keep, ComputeThread(), query)
    assert "3,000 rows" in made.words
    assert longest.seconds < MOST_SECONDS


async def test_a_chart_of_as_many_series_as_rows_goes_in_short_steps(redis: Redis, pool: Database) -> None:
    query = "select n, 'name ' || n as name, n * 2 as value from generate_series(1, 5000) as n"
    with longest_callback() as longest:
        made = await draw(pool, FileStore(redis).keep, ComputeThread(), query, "line", "n", "value", "")
    assert "largest of 5000 series" in made.words
    assert longest.seconds < MOST_SECONDS
