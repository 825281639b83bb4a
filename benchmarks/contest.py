"""Contest of the bot, its peer on Node and the floor: `./dev bench [ROUNDS]`.

In each round every contestant starts afresh and plays the same loads. The table and the picture are written
into docs/.
"""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import figures
from benchmarks.contestants import FLOOR, PRODUCT, Absent, find_peer, peer_versions
from benchmarks.figures import Round, table
from benchmarks.picture import picture
from benchmarks.stage import PLAN, Plan, play
from bot.storage.embedded import embedded_postgres

ROOT = Path(__file__).parent.parent
PAGE, PICTURE = ROOT / "docs/performance.md", ROOT / "docs/performance.svg"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
ROUND_SECONDS = 300.0
"""Most that a round may take."""


async def hold(rounds: int, plan: Plan) -> tuple[list[Round], dict[str, str]]:
    """Return the figures of each round, and why a contestant is absent."""
    contestants, absent = [PRODUCT, FLOOR], dict[str, str]()
    try:
        contestants.insert(1, await find_peer())
    except Absent as reason:
        absent["peer"] = str(reason)
    held: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        async with embedded_postgres(Path(directory)) as database_url:
            for number in range(rounds):
                found = {}
                for each in contestants[:: -1 if number % 2 else 1]:
                    began = time.monotonic()
                    found[each.name] = await play(each, plan, database_url)
                    seconds = time.monotonic() - began
                    print(f"round {number + 1} of {rounds}: {each.name}, {seconds:.0f} s", file=sys.stderr)
                held.append(found)
    return held, absent


async def conditions(rounds: Sequence[Round], absent: Mapping[str, str]) -> str:
    """Return a sentence about the machine and the time."""
    busy = max(found[figures.MACHINE] for each in rounds for found in each.values())
    versions = [f"Python {platform.python_version()}"]
    if "peer" not in absent:
        versions.append(await peer_versions())
    machine = f"{os.cpu_count()} cores ({platform.machine()}, {platform.system()})"
    text = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} on {machine} "
        f"with {', '.join(versions)}; rounds: {len(rounds)}. Between the loads, the machine was busy to "
        f"{busy:.0f} % at most."
    )
    return textwrap.fill(text, width=120)


def replace_block(page: str, block: str, begin: str = BEGIN, end: str = END) -> str:
    """Return a page with a new block between two marks."""
    before, begins, rest = page.partition(begin)
    _, ends, after = rest.partition(end)
    if not begins or not ends:
        raise ValueError(f"no {begin} and {end} in the page")
    return f"{before}{begin}\n{block}\n{end}{after}"


async def main(rounds: int) -> None:
    """Hold the contest, print the table, and write both files."""
    async with asyncio.timeout(rounds * ROUND_SECONDS):
        held, absent = await hold(rounds, PLAN)
    parts = [await conditions(held, absent), table(held, absent)]
    print(*parts, sep="\n\n")
    if "peer" in absent:
        PICTURE.unlink(missing_ok=True)
    else:
        PICTURE.write_text(picture(held))
        parts.append(f"![Ratios to the peer, on a logarithmic scale]({PICTURE.name})")
    PAGE.write_text(replace_block(PAGE.read_text(), "\n\n".join(parts)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=3)
    asyncio.run(main(max(1, parser.parse_args().rounds)))
