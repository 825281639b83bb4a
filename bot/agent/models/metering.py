"""What a call of the model takes: estimated before it, read or estimated after it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from langchain_core.messages import AnyMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.tools import BaseTool

from bot.chat import Meter, Notice, Part, Spending, Tokens, Turn

OUTPUT_ESTIMATE = 1_000
"""Tokens that an answer is taken for before it is there; in a chat few are longer."""

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
    """The tokens that the tools' descriptions take in each request, roughly."""
    return count_tokens_approximately([], tools=list(tools))


def estimate(messages: Sequence[AnyMessage], tools: int) -> Tokens:
    """What a call will take, roughly, with so many tokens of tools."""
    return Tokens(count_tokens_approximately(messages) + tools, OUTPUT_ESTIMATE)
