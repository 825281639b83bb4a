"""Event loop under a watchdog: `python -m tests.support.watched_loop LOOP LEASE_SECONDS LAST_SECONDS`.

It obeys lines of stdin: `ping` is answered with `pong`; `hang HOW` hangs the loop (`tests.support.hangs`);
`load` computes in eight other threads; `fill` fills the pipe behind stderr; `end` ends. It prints what the
watchdog notes.
"""

import asyncio
import importlib
import os
import signal
import sys
import threading

from bot.chat import name_work
from bot.concurrency.watchdog import Watchdog
from tests.support.hangs import HANGS, compute


async def main(lease_seconds: float, last_seconds: float) -> None:
    """Obey until the end."""

    async def note(work: str) -> None:
        print(f"noted {work}", flush=True)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, sys.exit, 0)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    with Watchdog(lease_seconds, lambda: ["one", "two"], note, last_seconds).watch():
        async for line in lines:
            match line.decode().split():
                case ["ping"]:
                    print("pong", flush=True)
                case ["hang", how]:
                    with name_work("turn:one"):
                        await asyncio.create_task(_hang(how))
                case ["load"]:
                    for _ in range(8):
                        threading.Thread(target=compute, daemon=True).start()
                case ["fill"]:
                    _fill(sys.stderr.fileno())
                case _:
                    return


async def _hang(how: str) -> None:
    print("hanging", flush=True)
    HANGS[how]()


def _fill(pipe: int) -> None:
    os.set_blocking(pipe, False)
    try:
        while True:
            os.write(pipe, b"." * 65_536)
    except BlockingIOError:
        os.set_blocking(pipe, True)


if __name__ == "__main__":
    name, *seconds = sys.argv[1:]
    factory = None if name == "asyncio" else importlib.import_module(name).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(*map(float, seconds)))
