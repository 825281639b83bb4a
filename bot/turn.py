"""One turn: messages in, one reply out. This is the boundary at which errors become words."""

import hashlib
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import cast

from bot.chat import (
    Answer,
    AnswerError,
    Health,
    LeaseLost,
    Message,
    Notice,
    Part,
    PlatformError,
    Receipt,
    StorageDown,
    Thread,
    ThreadId,
    Turn,
)

log = logging.getLogger(__name__)

Refusal = Callable[[Message], str | None]
"""Why this message may not be answered, as a sentence for its author; None when it may."""


class Turns:
    """Takes turns: asks the agent, and hands its parts to the thread's reply."""

    def __init__(self, answer: Answer, thread: Callable[[ThreadId], Thread], refusal: Refusal) -> None:
        self._answer = answer
        self._thread = thread
        self._refusal = refusal
        self._seconds: deque[tuple[float, float]] = deque(maxlen=1000)  # (when it ended, how long it took)

    async def take(self, turn: Turn, receipt: Receipt) -> None:
        """Answer one turn to its end.

        Raises what means "again later" or "not mine": `PlatformError`, `StorageDown`, `LeaseLost`, and what
        a reply raises. Whatever else goes wrong with the answer is told to the person who asked, once, and
        ends the turn.
        """
        began = time.monotonic()
        log.info("turn started", extra={"attempt": turn.attempt, "messages": len(turn.messages)})
        async with aclosing(self._parts(turn, receipt)) as parts:
            await self._thread(turn.thread).reply(parts, receipt)
        ended = time.monotonic()
        self._seconds.append((ended, ended - began))
        log.info("turn finished", extra={"seconds": round(ended - began, 3)})

    async def _parts(self, turn: Turn, receipt: Receipt) -> AsyncGenerator[Part]:
        """The agent's parts; an error becomes a last one, and is kept so that it is never run again."""
        refusals = [self._refusal(message) for message in turn.messages]
        allowed = [each for each, refusal in zip(turn.messages, refusals, strict=True) if refusal is None]
        error: str = receipt.state.get("error") or ("" if allowed else refusals[0]) or ""
        if not error:
            try:
                answer = self._answer(replace(turn, messages=tuple(allowed)))
                async with aclosing(cast("AsyncGenerator[Part]", answer)) as parts:
                    async for part in parts:
                        yield part
            except (PlatformError, StorageDown, LeaseLost):
                raise
            except AnswerError as problem:
                log.warning("no answer", extra={"error": str(problem)})
                error = str(problem)
            except Exception:  # the outermost boundary of a turn: the person gets words, the log the trace
                reference = reference_of(turn)
                log.exception("turn failed", extra={"reference": reference})
                error = (
                    f"Something went wrong on my side, and I could not finish this. Reference: `{reference}`."
                )
            else:
                return
            await receipt.save(error=error)
        yield Notice(error)

    async def health(self) -> Health:
        """How long turns take in this process, and how many there were in the last hour."""
        seconds = sorted(duration for _, duration in self._seconds)
        hour_ago = time.monotonic() - 3600
        evidence: dict[str, float] = {"last_hour": sum(ended > hour_ago for ended, _ in self._seconds)}
        if seconds:
            evidence["p50_s"] = round(seconds[len(seconds) // 2], 2)
            evidence["p99_s"] = round(seconds[len(seconds) * 99 // 100], 2)
        return Health(name="turns", state="ok", evidence=evidence)


def reference_of(turn: Turn) -> str:
    """What a person can quote, and an operator finds in the log."""
    return hashlib.sha256(turn.id.encode()).hexdigest()[:8]
