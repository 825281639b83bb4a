"""Heavy work in one thread, and what it costs another: `python -m benchmarks.heavy_work [ROUNDS]`.

A user on Slack asks one question after the other: alone, and beside a caller of the HTTP surface whose turns
follow each other without a pause. The table is written into docs/.
"""

import argparse
import asyncio
import base64
import io
import json
import platform
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import aiohttp
from PIL import Image

from benchmarks.contest import PAGE, replace_block
from benchmarks.contestants import PRODUCT
from benchmarks.figures import Figure, Round, Spread, number, spread
from benchmarks.servers import Load
from benchmarks.soak import free_port
from benchmarks.stage import Stage, open_stage
from bot.concurrency.tasks import cancel
from bot.storage.embedded import embedded_postgres
from tests.support.files import pdf
from tests.support.obedient_model import order

BEGIN, END = "<!-- heavy work: begin -->", "<!-- heavy work: end -->"
QUESTIONS = Load(threads=1, turns=20, tail=1.5)
"""The user's thread; the tail is for the lag that is not in its file yet."""
CASE_SECONDS = 120.0
MIB = 1 << 20
MARK = b"00000000"
"""Last base64 of each file, another one in each turn: the same file would not be stored again."""
ROWS = (
    "SELECT n AS id, 'customer ' || n AS customer, n * 1.5 AS total_eur, n % 97 AS items, "
    "timestamp '2026-01-01' + n * interval '1 hour' AS at FROM generate_series(1, {rows}) AS n"
)

FIRST, LAG, TURNS = Figure("first text"), Figure("p99 lag"), Figure("heavy turns a second")


def cases() -> Mapping[str, bytes]:
    """Return the body of `POST /chat` for each kind of heavy work."""
    line = {"kind": "line", "x": "id", "y": "total_eur"}
    noise = Image.frombytes("RGB", (1320, 1320), random.Random(1).randbytes(3 * 1320**2))
    picture = io.BytesIO()
    noise.save(picture, "PNG")
    prose = "Ein Satz über Wärme, 好 und mehr.\r\n".encode()
    row = "4711;Müller & Söhne;Köln;12,50;2026-05-01\r\n".encode()
    return {
        "query of 10,000 rows": _call("sql_query", query=ROWS.format(rows=10_000)),
        "export of 10,000 rows": _call("export", query=ROWS.format(rows=10_000)),
        "chart of 5,000 rows": _call("chart", query=ROWS.format(rows=5_000), **line),
        "text of 5 MiB": _file("notes.txt", prose * (5 * MIB // len(prose))),
        "CSV of 5 MiB": _file("orders.csv", row * (5 * MIB // len(row))),
        "picture of 5 MiB": _file("noise.png", picture.getvalue()),
        "PDF of 100 pages": _file("report.pdf", pdf(*(f"Page {page} of it. " * 9 for page in range(100)))),
    }


def _call(tool: str, **arguments: str) -> bytes:
    return json.dumps({"message": order(tool, **arguments)}).encode()


def _file(name: str, content: bytes) -> bytes:
    whole = content[: len(content) // 3 * 3]  # so that more base64 can follow
    file = {"name": name, "content_base64": base64.b64encode(whole).decode() + MARK.decode()}
    return json.dumps({"message": "what is this?", "files": [file]}).encode()


class Caller:
    """Caller whose turns, all of the same kind, follow each other."""

    def __init__(self, url: str, body: bytes) -> None:
        self.turns = 0
        self._url = url
        self._body = body

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Ask until the context is left; it begins after the first answer, before which much is imported."""
        async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
            await self._ask(session)
            working = asyncio.create_task(self._work(session))
            try:
                yield
                if working.done():
                    working.result()
            finally:
                await cancel(working)

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while True:
            await self._ask(session)
            self.turns += 1

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        body = self._body.replace(MARK, f"{self.turns:08}".encode())
        async with session.post(self._url, data=io.BytesIO(body)) as response:
            answer = await response.json()
        if response.status != 200 or "could not" in answer["response"]:
            raise RuntimeError(f"the heavy turn failed: {answer}")


async def play(stage: Stage) -> Mapping[Figure, float]:
    """Ask the user's questions; return the times in ms."""
    outcome, _ = await stage.play(QUESTIONS)
    if outcome.unanswered:
        raise RuntimeError("a question had no answer")
    return {FIRST: 1000 * median(outcome.later_texts), LAG: stage.lag(outcome) or 0.0}


async def measure(rounds: int, bodies: Mapping[str, bytes]) -> Mapping[str, Sequence[Round]]:
    """Return the figures `alone` and `beside` of each kind of work."""
    held: dict[str, list[Round]] = {name: [] for name in bodies}
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        async with (
            embedded_postgres(Path(directory)) as database_url,
            open_stage(PRODUCT) as (stage, environ),
            stage.process({**environ, "DATABASE_URL": database_url, "HTTP_PORT": str(port)}),
        ):
            await stage.play(QUESTIONS)
            for _ in range(rounds):
                for name, body in bodies.items():
                    async with asyncio.timeout(CASE_SECONDS):
                        held[name].append(await _round(stage, Caller(f"http://127.0.0.1:{port}/chat", body)))
                    print(name, held[name][-1], file=sys.stderr)
    return held


async def _round(stage: Stage, caller: Caller) -> Round:
    alone = await play(stage)
    async with caller.at_work():
        began = asyncio.get_running_loop().time()
        beside = await play(stage)
        seconds = asyncio.get_running_loop().time() - began
    return {"alone": alone, "beside": {**beside, TURNS: caller.turns / seconds}}


def table(held: Mapping[str, Sequence[Round]]) -> str:
    """Return the Markdown table."""
    lines = [["", "first text, beside / alone", "p99 lag alone (ms)", "beside (ms)", "heavy turns a second"]]
    lines.append(["---"] * len(lines[0]))
    for name, rounds in held.items():
        lags = [_middle(spread(rounds, LAG, each)) for each in ("alone", "beside")]
        turns = _middle(spread(rounds, TURNS, "beside"))
        lines.append([name, str(spread(rounds, FIRST, "beside", "alone")), *lags, turns])
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


def _middle(found: Spread | None) -> str:
    return number(found.middle) if found else "-"


async def main(rounds: int, word: str) -> None:
    """Measure and print the table; without a word to choose by, write it into the page."""
    chosen = {name: body for name, body in cases().items() if word in name}
    held = await measure(rounds, chosen)
    version = platform.python_version()
    told = f"Measured on {datetime.now(UTC):%Y-%m-%d} with Python {version}; rounds: {rounds}."
    block = f"{told}\n\n{table(held)}"
    print(block)
    if not word:
        PAGE.write_text(replace_block(PAGE.read_text(), block, BEGIN, END))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heavy_work", description=__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=3)
    parser.add_argument("--only", default="", metavar="WORD", help="kinds of work to try; writes no page")
    options = parser.parse_args()
    asyncio.run(main(max(1, options.rounds), options.only))
