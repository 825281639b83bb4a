"""Token metering: estimates before a model call, usage after it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from langchain_core.messages import AnyMessage
from langchain_core.messages.utils import count_tokens_approximately

from bot.chat import CallUsage, Meter, Notice, Part, Tokens, Turn

OUTPUT_ESTIMATE = 1_000
"""Estimated tokens of an answer before the call; few chat answers are longer."""

CallMeter = Callable[[str, Tokens], AbstractAsyncContextManager[CallUsage]]
"""A `bot.chat.Meter` for one turn: wraps a call by the model's name and its estimate."""


def call_meter(meter: Meter | None, turn: Turn, emit: Callable[[Part], None]) -> CallMeter:
    """Return the meter for the calls of `turn`; its warnings are emitted after each call.

    Without a meter the calls cost nothing.
    """

    @asynccontextmanager
    async def measure(model: str, estimate: Tokens) -> AsyncIterator[CallUsage]:
        if meter is None:
            yield CallUsage()
            return
        usage: CallUsage | None = None
        try:
            async with meter.measure(turn, model, estimate) as usage:
                yield usage
        finally:
            if usage is not None:
                for words in usage.warnings:
                    emit(Notice(words))

    return measure


def tools_size(specs: Sequence[dict[str, Any]]) -> int:
    """Return the estimated tokens of the tool descriptions in each request."""
    return count_tokens_approximately([], tools=list(specs))


def estimate(messages: Sequence[AnyMessage], tools: int) -> Tokens:
    """Return the estimated tokens of a call with `tools` tokens of tool descriptions."""
    return Tokens(count_tokens_approximately(messages) + tools, OUTPUT_ESTIMATE)
