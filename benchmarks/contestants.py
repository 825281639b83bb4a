"""Contestants: the bot, its peer on Node, and the floor, each as a child process."""

import asyncio
import json
import os
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
PEER = ROOT / "benchmarks/peer"
CACHE = ROOT / ".bench/peer"
"""Folder where npm installs the peer; git ignores it."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Program that takes the bot's variables."""

    name: str
    command: Sequence[str]


PRODUCT = Contestant("product", (sys.executable, "-m", "benchmarks.unmetered"))
FLOOR = Contestant("floor", (sys.executable, "-m", "benchmarks.floor"))


class Absent(Exception):
    """Contestant that cannot run here; `str()` is a short reason for the table."""


async def find_peer() -> Contestant:
    """Return the peer, installed if it is not yet. Raises `Absent`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise Absent("no Node")
    CACHE.mkdir(parents=True, exist_ok=True)
    shutil.copy(PEER / "peer.mjs", CACHE)
    wanted, package = (PEER / "package.json").read_text(), CACHE / "package.json"
    if not package.exists() or package.read_text() != wanted:
        await _install(npm, wanted)
    return Contestant("peer", (node, str(CACHE / "peer.mjs")))


async def _install(npm: str, wanted: str) -> None:
    """Install into a new folder, so that a broken attempt is not taken for an installation."""
    package, unfinished = CACHE / "package.json", CACHE / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    (unfinished / "package.json").write_text(wanted)
    options = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    process = await asyncio.create_subprocess_exec(
        npm, "install", *options, cwd=unfinished, stdout=PIPE, stderr=STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        print(output.decode(errors="replace"), file=sys.stderr)
        raise Absent("npm failed")
    shutil.rmtree(CACHE / "node_modules", ignore_errors=True)
    (unfinished / "node_modules").rename(CACHE / "node_modules")
    shutil.rmtree(unfinished)
    package.write_text(wanted)  # last: it says that all the rest is there


async def peer_versions() -> str:
    """Return the versions of Node and of the peer's packages."""
    process = await asyncio.create_subprocess_exec("node", "--version", stdout=PIPE)
    output, _ = await process.communicate()
    packages = json.loads((PEER / "package.json").read_text())["dependencies"]
    return ", ".join([f"Node {output.decode().strip()}", *(f"{name} {at}" for name, at in packages.items())])


@asynccontextmanager
async def run_process(
    contestant: Contestant, environ: Mapping[str, str], directory: Path
) -> AsyncIterator[psutil.Process]:
    """Run one process of a contestant in a folder without a `.env`; print the end of its log on an error."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    log = directory / f"{contestant.name}.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *contestant.command,
            cwd=directory,
            env={**kept, "PYTHONPATH": str(ROOT), **environ},
            stdout=output,
            stderr=output,
        )
    try:
        yield psutil.Process(process.pid)
    except Exception:  # raised again; whatever failed, the end of the log says why
        print(f"{contestant.name}:", *log.read_text().splitlines()[-30:], sep="\n", file=sys.stderr)
        raise
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
