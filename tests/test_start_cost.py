"""Cost of a start in counts: imported packages, and the garbage collector's work, at each stage."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import Set
from pathlib import Path
from typing import Any

import pytest

from tests.support.bot import ROOT

AT_SETTINGS = {
    "annotated_types",
    "bot",
    "dotenv",
    "pydantic",
    "pydantic_core",
    "pydantic_settings",
    "structlog",
    "typing_extensions",
    "typing_inspection",
}
"""Packages that the command line and the settings need."""

# fmt: off
AT_READY = AT_SETTINGS | {
    "aiohappyeyeballs", "aiohttp", "aiosignal", "anyio", "asyncpg", "attr", "certifi", "chardet",
    "cryptography", "distro", "frozenlist", "hiredis", "httpx", "httpx2",
    "idna", "jsonpatch", "jsonpath_ng", "jsonpointer", "langchain_core", "langchain_protocol", "langgraph",
    "langgraph_sdk", "langsmith", "multidict", "orjson", "ormsgpack", "packaging", "pglast", "propcache",
    "psutil", "redis", "redisvl", "requests", "requests_toolbelt", "sniffio", "tenacity",
    "ulid", "urllib3", "uuid_utils", "uvloop", "websockets", "xxhash", "yaml", "yarl", "zstandard",
}
# fmt: on
"""Packages that a bot with nothing configured needs; a model, Slack, Discord, charts, files and plug-ins need
more, where they are used."""

MOST_BYTES = 121 * 2**20
"""Most memory of a bot with nothing configured, when it is ready."""

REPORT = """
import asyncio, gc, json, logging, os, signal, sys
sys.modules["rich"] = None  # structlog imports it where the tools for tests have installed it
import bot.main
def report(**state):
    tops = sorted({name.partition(".")[0] for name, module in sys.modules.items() if module})
    state |= {"packages": tops, "frozen": gc.get_freeze_count(), "collects": gc.isenabled()}
    import psutil  # langsmith imports it later anyway
    state["rss"] = psutil.Process().memory_info().rss
    state["switch_interval"] = sys.getswitchinterval()
    state["full_collections"] = gc.get_stats()[2]["collections"]
    print("report", json.dumps(state), flush=True)
report()
make = logging.getLogRecordFactory()
def watch(*args, **options):
    record = make(*args, **options)
    if record.msg == "ready":
        report(loop=type(asyncio.get_running_loop()).__module__)
        os.kill(os.getpid(), signal.SIGTERM)
    return record
logging.setLogRecordFactory(watch)
sys.exit(bot.main.main([]))
"""


async def reports(environ: dict[str, str]) -> list[dict[str, Any]]:
    """Return the state of a program after the import of its command line, and when it is ready."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", REPORT, cwd=ROOT, env=environ, stdout=PIPE, stderr=PIPE
    )
    output, errors = await child.communicate()
    assert child.returncode == 0, errors.decode()
    lines = [line.removeprefix("report ") for line in output.decode().splitlines() if "packages" in line]
    return [json.loads(line) for line in lines]


def packages(report: dict[str, Any]) -> Set[str]:
    """Return the packages that are neither Python's own nor made up by compiled modules."""
    names = set(report["packages"]) - sys.stdlib_module_names - {"cython_runtime"}
    return {name for name in names if not name.startswith("_") and "__" not in name}


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions of Python need other packages")
async def test_packages_and_collections_of_a_start(tmp_path: Path) -> None:
    """Each stage imports what it needs and no more; what a start has made is never looked through."""
    at_settings, at_ready = await reports(
        {"DATA_DIR": str(tmp_path), "HOME": str(tmp_path), "HTTP_PORT": "0"}
    )
    assert packages(at_settings) == AT_SETTINGS
    assert packages(at_ready) == AT_READY
    assert at_ready["full_collections"] == at_settings["full_collections"]  # a live one takes 0.1 s
    assert at_ready["frozen"] > 100_000
    assert at_ready["collects"]
    assert at_ready["loop"] == "uvloop"
    assert at_ready["rss"] < MOST_BYTES
    assert at_ready["switch_interval"] <= 0.001  # seconds that each step of a turn waits for a busy thread
