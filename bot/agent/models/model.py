"""Model calls with retries and a fallback: one streamed answer, complete or an error.

Only this module retries. Each `CallFailed` says how many tries are worthwhile; then the fallback model is
tried, and then the user receives a sentence.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import BaseTool

from bot.agent import history, texts
from bot.agent.models import errors, metering
from bot.agent.models.completion import Completion, Manner
from bot.agent.models.errors import CallFailed
from bot.agent.models.metering import CallMeter
from bot.agent.models.offline import OfflineService
from bot.chat import AnswerError, Health, Notice, Part

log = logging.getLogger(__name__)

Emit = Callable[[Part], None]
"""Shows a part of the answer as soon as it exists."""

_WORTH_WAITING = 5.0
"""Longest wait in seconds for a busy model while a fallback is available."""


_MOST_KEPT_ALIVE = 4
"""Time-outs that may pass with keep-alives, such as comments, but no piece of an answer."""


class Service(Protocol):
    """Chat model that streams one answer to a request."""

    name: str

    def tools_size(self, *, is_restricted: bool = False) -> int:
        """Return the estimated tokens that the tool descriptions take in each request."""

    def stream(
        self,
        messages: Sequence[AnyMessage],
        manner: Manner,
        completion: Completion,
        *,
        is_restricted: bool = False,
    ) -> AsyncGenerator[Sequence[Part]]:
        """Fill `completion` and yield its visible parts, or nothing, whenever data arrives.

        `is_restricted` offers only `bot.tools.OPEN_TOOLS`. Raises `CallFailed`.
        """


@dataclass(slots=True)
class ModelStats:
    """Outcomes of the last hundred calls, for health."""

    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    failures: deque[bool] = field(default_factory=lambda: deque(maxlen=100))
    last_call: float = 0.0
    last_error: str = ""

    def record(self, began: float, error: str = "") -> None:
        """Record a call that began at `began` (monotonic seconds) and has ended now."""
        self.last_call = time.monotonic()
        self.failures.append(bool(error))
        if error:
            self.last_error = error
        else:
            self.seconds.append(self.last_call - began)


class Model:
    """One or two chat models, called in order until one answers.

    `timeout` is in seconds: without a byte; four times that without a piece of an answer; and the sum of all
    waits before retries. The first wait is about `pause` seconds unless the service names one.
    """

    name = "model"

    def __init__(self, services: Sequence[Service], timeout: float | None = None, pause: float = 0.5) -> None:
        self._services = services
        self._timeout = timeout
        self._pause = pause
        self._stats = ModelStats()

    async def answer(
        self,
        messages: list[AnyMessage],
        emit: Emit,
        meter: CallMeter,
        manner: Manner = "act",
        *,
        is_restricted: bool = False,
    ) -> AIMessage:
        """Return the complete answer; its text is also emitted as it comes.

        `is_restricted` offers only `bot.tools.OPEN_TOOLS`. Raises `AnswerError`, and the errors of `meter`
        for a call that may not be made.
        """
        failure = CallFailed(errors.TROUBLE, "there is no model")
        forward = _Forwarder(emit)
        for service in self._services:
            asked, tried, waited = messages, 0, 0.0
            while True:
                if forward.any:
                    emit(Notice(texts.BROKEN_OFF))
                forward = _Forwarder(emit)
                try:
                    return await self._call(service, asked, forward, meter, manner, is_restricted)
                except CallFailed as error:
                    failure = error
                tried += 1
                if failure.cause.is_too_long and asked is messages and (shorter := history.shorten(asked)):
                    asked = shorter
                    continue
                pause = self._next_pause(failure, tried, has_other=service is not self._services[-1])
                waited += pause
                if tried >= failure.cause.tries or (self._timeout is not None and waited > self._timeout):
                    break
                await asyncio.sleep(pause)
        raise AnswerError(failure.sentence, status=failure.cause.status)

    def _next_pause(self, failure: CallFailed, attempts: int, *, has_other: bool) -> float:
        """Return the seconds before the next try; infinite if the fallback should be tried instead."""
        if failure.wait is None:
            return self._pause * 2.0 ** (attempts - 1) * random.uniform(0.75, 1)  # noqa: S311 - not a secret
        return float("inf") if has_other and failure.wait > _WORTH_WAITING else failure.wait

    async def _call(
        self,
        service: Service,
        messages: list[AnyMessage],
        forward: "_Forwarder",
        meter: CallMeter,
        manner: Manner,
        is_restricted: bool,
    ) -> AIMessage:
        began = time.monotonic()
        completion = Completion()
        try:
            size = 0 if manner == "plain" else service.tools_size(is_restricted=is_restricted)
            estimate = metering.estimate(messages, size)
            async with meter(service.name, estimate) as usage:
                try:
                    stream = service.stream(messages, manner, completion, is_restricted=is_restricted)
                    await self._collect(stream, completion, forward)
                finally:
                    usage.tokens = completion.usage(estimate)
            answer = completion.message(service.name, manner)
        except CallFailed as error:
            if error.cause.is_trouble:
                self._stats.record(began, error.label)
            log.warning("model call failed", extra={"model": service.name, "error": str(error)[:300]})
            raise
        self._stats.record(began)
        seconds = round(time.monotonic() - began, 3)
        log.info("model answered", extra={"model": service.name, "seconds": seconds})
        return answer

    async def _collect(
        self, stream: AsyncGenerator[Sequence[Part]], completion: Completion, forward: "_Forwarder"
    ) -> None:
        try:
            # one timer that is rescheduled; a timer per piece would cost a task each
            now = asyncio.get_running_loop().time
            progress, moved = 0, now()
            async with asyncio.timeout(self._timeout) as limit, aclosing(stream):
                async for parts in stream:
                    if completion.progress > progress:
                        progress, moved = completion.progress, now()
                    if self._timeout is not None:
                        latest = moved + _MOST_KEPT_ALIVE * self._timeout
                        limit.reschedule(min(now() + self._timeout, latest))
                    forward(parts)
        except TimeoutError:
            if not completion.is_ended:  # else the answer is complete, and only its connection is still open
                raise CallFailed(errors.SLOW, f"no answer came in {self._timeout} seconds") from None
            forward(completion.finish())

    async def health(self) -> Health:
        """Report the last hundred calls, without a call of its own, since a call costs money."""
        stats = self._stats
        evidence: dict[str, object] = {"models": [service.name for service in self._services]}
        if stats.last_call:
            evidence["last_call_s"] = round(time.monotonic() - stats.last_call, 1)
            evidence["errors"] = f"{sum(stats.failures)} of {len(stats.failures)}"
        if stats.seconds:
            evidence["p50_s"] = round(median(stats.seconds), 2)
        if stats.last_error:
            evidence["last_error"] = stats.last_error
        failing = bool(stats.failures) and stats.failures[-1]
        return Health(name="model", state="degraded" if failing else "ok", evidence=evidence)


class _Forwarder:
    """Forwards parts and remembers whether there were any."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.any = False

    def __call__(self, parts: Iterable[Part]) -> None:
        for part in parts:
            self.any = True
            self._emit(part)


def offline_model(tools: Sequence[BaseTool]) -> Model:
    """Return the model that needs no network."""
    return Model([OfflineService(tools)])
