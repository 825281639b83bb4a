"""Watchdog: ends a process whose event loop has hung for longer than a lease.

By then other processes take over its turns. Two observers watch the loop, because neither detects every hang:
a thread detects a blocking call; a CPU timer's signal handler also runs inside a regular expression, which
holds the interpreter lock so that no thread runs. If code holds the lock and handles no signals (a C
extension), the kernel ends the process with stack traces, but without a note of the cause.
"""

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from bot.chat import work_at_hand

log = logging.getLogger(__name__)

HUNG = 70
"""Exit code: EX_SOFTWARE of sysexits(3), "an internal software error"."""

_LOOKS = 10
"""Number of checks per lease."""

_NOTE_SECONDS = 3.0


class Watchdog:
    """Watchdog for the event loop of the main thread.

    Only time in which an observer ran on schedule counts as silence: both stand still while the process is
    suspended (SIGSTOP, a frozen container, a sleeping machine), and are late if they are starved. Time in
    which the loop's thread waited for a CPU is subtracted, where the system reports it (schedstat of Linux).
    """

    def __init__(
        self,
        lease_seconds: float,
        running: Callable[[], Sequence[str]],
        note: Callable[[str], Awaitable[None]],
        last_seconds: float = 10,
    ) -> None:
        """`running` returns the ids of current turns; a blocked exit is forced after `last_seconds`.

        `note` stores what hung the process, as `bot.chat.work_at_hand` names it; empty if it is not known.
        """
        self._lease_seconds = lease_seconds
        self._between = lease_seconds / _LOOKS
        self._running = running
        self._note = note
        self._last_seconds = last_seconds
        self._beats = self._beats_seen = 0
        self._silent = 0.0
        self._looked_at = self._waited = 0.0
        self._looking = threading.Lock()
        self._ended = threading.Event()
        self._found = threading.Event()
        self._is_dying = False
        self._work = ""

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch the running loop until the context is left."""
        loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._schedule = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        self._looked_at, self._waited = time.monotonic(), self._cpu_wait()
        self._beat(loop)
        faulthandler.register(signal.SIGVTALRM, all_threads=True, chain=True)  # then its default: to end
        self._allow_cpu_time()
        signal.signal(signal.SIGPROF, self._on_signal)
        signal.setitimer(signal.ITIMER_PROF, self._between, self._between)
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._next_beat.cancel()
            thread.join()
            for timer in (signal.ITIMER_PROF, signal.ITIMER_VIRTUAL):
                signal.setitimer(timer, 0)
            # one may be pending, and the default of SIGPROF ends the process
            signal.signal(signal.SIGPROF, signal.SIG_IGN)
            faulthandler.unregister(signal.SIGVTALRM)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beats += 1
        self._next_beat = loop.call_later(self._between, self._beat, loop)

    def _watch(self) -> None:
        while not self._ended.wait(self._between):
            if self._is_hung():
                self._die()

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        """Check the loop from its own thread, in the context of the current task."""
        if self._is_hung() or self._is_dying:
            self._work = _current_work()
            self._found.set()
            threading.Event().wait()  # releases the interpreter lock for the thread, which ends the process

    def _is_hung(self) -> bool:
        """Add the time since the last check to the loop's silence; return True if that is too long."""
        if not self._looking.acquire(blocking=False):
            return False  # the other observer is checking
        try:
            now, waited = time.monotonic(), self._cpu_wait()
            passed = now - self._looked_at - (waited - self._waited)
            self._looked_at, self._waited = now, waited
            if (
                passed > 0
            ):  # a late observer was starved, and the loop may be, too: the later, the less it counts
                self._silent += min(passed, self._between**2 / passed)
            if self._beats != self._beats_seen:
                self._beats_seen, self._silent = self._beats, 0
            self._allow_cpu_time()
            return self._silent > self._lease_seconds
        finally:
            self._looking.release()

    def _allow_cpu_time(self) -> None:
        """Let the kernel end the process after a lease in which no observer could run.

        The timer counts the process's user time on all CPUs, so it takes at least a lease.
        """
        signal.setitimer(signal.ITIMER_VIRTUAL, self._lease_seconds * (os.cpu_count() or 1))

    def _cpu_wait(self) -> float:
        """Return the seconds that the loop's thread has waited for a CPU (proc_pid_schedstat(5))."""
        try:
            with open(self._schedule, "rb") as schedule:
                return int(schedule.read().split()[1]) / 1e9
        except (OSError, LookupError, ValueError):  # another system
            return 0.0

    def _die(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._last_seconds)  # afterwards the kernel ends it with SIGALRM
        self._is_dying = True
        signal.pthread_kill(self._loop_thread, signal.SIGPROF)
        self._found.wait(2 * self._between)
        is_noted = self._store_note()  # first: it matters more than the log
        log.critical(
            "event loop hung, process ended",
            extra={
                "silent_s": round(self._silent, 1),
                "work": self._work or "not known",
                "is_noted": is_noted,
                "running": list(self._running()),
                "exit_code": HUNG,
            },
        )
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        os._exit(HUNG)  # the event loop cannot be closed any more

    def _store_note(self) -> bool:
        async def note() -> None:
            async with asyncio.timeout(_NOTE_SECONDS):
                await self._note(self._work)

        try:
            asyncio.run(note())
        except Exception:  # whatever fails here, the process must end; the turn then counts a crash
            log.exception("hang note failed")
            return False
        return True


def _current_work() -> str:
    """Return the work of the current task; a callback has none, and would name that of its creator."""
    try:
        return work_at_hand() if asyncio.current_task() else ""
    except RuntimeError:  # between two runs of the loop
        return ""
