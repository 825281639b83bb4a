"""Model calls with retries and a fallback: one streamed answer, complete or an error.

Only this module retries. Each `CallFailed` says how many tries are worthwhile; then the fallback model is
tried, and then the user receives a sentence.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import BaseTool

from bot.agent import history, texts
from bot.agent.models import errors, metering
from bot.agent.models.completion import Completion, Manner, Offered
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

_LONGEST_LEEWAY = 1.0
"""Most seconds by which the end of the model's patience may be late, so that its timer rarely moves."""


class Service(Protocol):
    """Chat model that streams one answer to a request."""

    name: str

    def tools_size(self, tools: Offered = None) -> int:
        """Return the estimated tokens that the tool descriptions take in each request."""

    def stream(
        self,
        messages: Sequence[AnyMessage],
        manner: Manner,
        completion: Completion,
        tools: Offered = None,
    ) -> AsyncGenerator[None]:
        """Fill `completion`, and yield when more of it can be shown. Raises `CallFailed`."""


@dataclass(slots=True)
class ModelStats:
    """Outcomes of the last hundred calls, for health."""

    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    failures: deque[bool] = field(default_factory=lambda: deque(maxlen=100))
    last_call: float = 0.0
    last_error: str = ""
    limited_until: float = 0.0
    """Time (monotonic seconds) until which the last call should wait, as the service has said."""

    def record(self, began: float, error: str = "", wait: float = 0.0) -> None:
        """Record a call that began at `began` (monotonic seconds) and has ended now.

        After an error the service may have asked for a `wait`, in seconds.
        """
        self.last_call = time.monotonic()
        self.limited_until = self.last_call + wait
        self.failures.append(bool(error))
        if error:
            self.last_error = error
        else:
            self.seconds.append(self.last_call - began)


class Model:
    """One or two chat models, called in order until one answers.

    Each of `choices` can be asked in place of the first one. `timeout` is in seconds: without a byte; four
    times that without a piece of an answer; and the sum of all waits before retries. The first wait is about
    `pause` seconds unless the service names one.
    """

    name = "model"

    def __init__(
        self,
        services: Sequence[Service],
        timeout: float | None = None,
        pause: float = 0.5,
        choices: Sequence[Service] = (),
    ) -> None:
        self._services = services
        self._choices = {service.name: service for service in choices}
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
        tools: Offered = None,
        preferred: str = "",
    ) -> AIMessage:
        """Return the complete answer; its text is also emitted as it comes.

        `preferred` is the choice that is asked first, if there is such a one. Raises `AnswerError`, and the
        errors of `meter` for a call that may not be made.
        """
        failure = CallFailed(errors.TROUBLE, "there is no model")
        completion = Completion()
        services = self._in_order(preferred)
        for service in services:
            asked, tried, waited = messages, 0, 0.0
            while True:
                if completion.times_shown:
                    emit(Notice(texts.BROKEN_OFF))
                completion = Completion()
                try:
                    return await self._call(service, asked, completion, emit, meter, manner, tools)
                except CallFailed as error:
                    failure = error
                tried += 1
                if failure.cause.is_too_long and asked is messages and (shorter := history.shorten(asked)):
                    asked = shorter
                    continue
                pause = self._next_pause(failure, tried, has_other=service is not services[-1])
                waited += pause
                if tried >= failure.cause.tries or (self._timeout is not None and waited > self._timeout):
                    break
                await asyncio.sleep(pause)
        raise AnswerError(failure.sentence, status=failure.cause.status)

    def _in_order(self, preferred: str) -> Sequence[Service]:
        if choice := self._choices.get(preferred):
            return [choice, *(each for each in self._services[1:] if each.name != choice.name)]
        return self._services

    def _next_pause(self, failure: CallFailed, attempts: int, *, has_other: bool) -> float:
        """Return the seconds before the next try; infinite if the fallback should be tried instead."""
        if failure.wait is None:
            return self._pause * 2.0 ** (attempts - 1) * random.uniform(0.75, 1)  # noqa: S311 - not a secret
        return float("inf") if has_other and failure.wait > _WORTH_WAITING else failure.wait

    async def _call(
        self,
        service: Service,
        messages: list[AnyMessage],
        completion: Completion,
        emit: Emit,
        meter: CallMeter,
        manner: Manner,
        tools: Offered,
    ) -> AIMessage:
        began = time.monotonic()
        try:
            size = 0 if manner == "plain" else service.tools_size(tools)
            estimate = metering.estimate(messages, size)
            async with meter(service.name, estimate) as usage:
                try:
                    stream = service.stream(messages, manner, completion, tools)
                    await self._read(stream, completion, emit)
                finally:
                    usage.tokens = completion.usage(estimate)
            answer = completion.message(service.name, manner)
        except CallFailed as error:
            if error.cause.is_trouble:
                is_limited = error.cause.status == errors.BUSY.status
                self._stats.record(began, error.label, error.wait or 0.0 if is_limited else 0.0)
            log.warning("model call failed", extra={"model": service.name, "error": str(error)[:300]})
            raise
        self._stats.record(began)
        seconds = round(time.monotonic() - began, 3)
        log.info("model answered", extra={"model": service.name, "seconds": seconds})
        return answer

    async def _read(self, stream: AsyncGenerator[None], completion: Completion, emit: Emit) -> None:
        """Read the answer and show it as it comes. Raises `CallFailed` if no more comes in time."""
        try:
            async with asyncio.timeout(self._timeout) as limit, aclosing(stream):
                patience = _Patience(limit, self._timeout)
                async for _ in stream:
                    _show(completion, emit)
                    patience.renew(completion.progress)
        except TimeoutError:
            if not completion.is_ended:  # else the answer is complete, and only its connection is still open
                raise CallFailed(errors.SLOW, f"no answer came in {self._timeout} seconds") from None
            completion.finish()
        finally:
            _show(completion, emit)

    async def health(self) -> Health:
        """Report the last hundred calls, without a call of its own, since a call costs money."""
        stats = self._stats
        names = [service.name for service in self._services]
        evidence: dict[str, object] = {"models": list(dict.fromkeys([*names, *self._choices]))}
        if stats.last_call:
            evidence["last_call_s"] = round(time.monotonic() - stats.last_call, 1)
            evidence["errors"] = f"{sum(stats.failures)} of {len(stats.failures)}"
        if stats.seconds:
            evidence["p50_s"] = round(median(stats.seconds), 2)
        if stats.last_error:
            evidence["last_error"] = stats.last_error
        if (wait := stats.limited_until - time.monotonic()) > 0:
            evidence["rate_limited_s"] = max(1, round(wait))
        failing = bool(stats.failures) and stats.failures[-1]
        return Health(name="model", state="degraded" if failing else "ok", evidence=evidence)


def _show(completion: Completion, emit: Emit) -> None:
    for part in completion.take():
        emit(part)


class _Patience:
    """Time-out that each data renews, but only for so long if no piece of an answer comes.

    It may end late by the leeway, but never early, so that its timer need not move with each token.
    """

    def __init__(self, limit: asyncio.Timeout, seconds: float | None) -> None:
        self._limit = limit
        self._seconds = seconds
        self._leeway = min(_LONGEST_LEEWAY, (seconds or 0) / 10)
        self._now = asyncio.get_running_loop().time
        self._progress, self._moved = 0, self._now()

    def renew(self, progress: int) -> None:
        """Extend the time-out after data has arrived; `progress` grows with each piece of an answer."""
        end, now = self._limit.when(), self._now()
        if self._seconds is None or end is None or end >= now + self._seconds:
            return
        if progress > self._progress:
            self._progress, self._moved = progress, now
        latest = self._moved + _MOST_KEPT_ALIVE * self._seconds
        self._limit.reschedule(min(now + self._seconds + self._leeway, latest))


def offline_model(tools: Sequence[BaseTool], *, has_sample: bool = False) -> Model:
    """Return the model that needs no network; with `has_sample` it knows the embedded database."""
    return Model([OfflineService(tools, has_sample=has_sample)])
