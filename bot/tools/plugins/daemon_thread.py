"""Daemon threads for foreign code that may block or never end."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Crashed(Exception):
    """Exit of foreign code that would end a program or a loop, such as SystemExit: `str()` names it."""


def in_thread(name: str, work: Callable[[], T]) -> asyncio.Future[T]:
    """Run `work` in a new daemon thread and return a future of its result.

    Unlike a thread of `asyncio.to_thread`, a hanging one does not keep the program from ending. It cannot be
    stopped, only abandoned.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(_retrieve_error)
    context = contextvars.copy_context()

    def run() -> None:
        result: Any = None
        error: Exception | None = None
        try:
            result = context.run(work)
        except StopIteration as stop:  # a future refuses it
            error = Crashed(repr(stop))
        except Exception as raised:  # noqa: BLE001 - passed on to the caller
            error = raised
        except BaseException as raised:  # noqa: BLE001 - SystemExit must end the thread, not the bot
            error = Crashed(type(raised).__name__)
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(_settle, future, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def _settle(future: asyncio.Future[T], result: T, error: Exception | None) -> None:
    if future.done():
        return  # abandoned
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _retrieve_error(future: asyncio.Future[T]) -> None:
    if not future.cancelled():
        future.exception()  # else asyncio reports errors of abandoned futures
