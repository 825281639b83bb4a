"""Token metering: estimates before a model call, usage after it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from langchain_core.messages import AnyMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.tools import BaseTool

from bot.chat import Meter, Notice, Part, Spending, Tokens, Turn

OUTPUT_ESTIMATE = 1_000
"""Estimated tokens of an answer before the call; few chat answers are longer."""

Metered = Callable[[str, Tokens], AbstractAsyncContextManager[Spending]]
"""A `bot.chat.Meter` for one turn: wraps a call by the model's name and its estimate."""


def metered(meter: Meter | None, turn: Turn, emit: Callable[[Part], None]) -> Metered:
    """Return the meter for the calls of `turn`; its warnings are emitted after each call.

    Without a meter the calls cost nothing.
    """

    @asynccontextmanager
    async def measure(model: str, estimate: Tokens) -> AsyncIterator[Spending]:
        if meter is None:
            yield Spending()
            return
        spending: Spending | None = None
        try:
            async with meter.measure(turn, model, estimate) as spending:
                yield spending
        finally:
            if spending is not None:
                for words in spending.warnings:
                    emit(Notice(words))

    return measure


def tools_size(tools: Sequence[BaseTool]) -> int:
    """Return the estimated tokens of the tool descriptions in each request."""
    return count_tokens_approximately([], tools=list(tools))


def estimate(messages: Sequence[AnyMessage], tools: int) -> Tokens:
    """Return the estimated tokens of a call with `tools` tokens of tool descriptions."""
    return Tokens(count_tokens_approximately(messages) + tools, OUTPUT_ESTIMATE)
