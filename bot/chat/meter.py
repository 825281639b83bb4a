"""What the calls of a model take, and who counts it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from bot.chat.events import Turn


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a model reads and writes."""

    input: int = 0
    output: int = 0


@dataclass(slots=True)
class Spending:
    """One call: what it took, None when nothing came of it; afterwards what the person is to be told."""

    used: Tokens | None = None
    warnings: tuple[str, ...] = ()


Meter = Callable[[Turn, str, Tokens], AbstractAsyncContextManager[Spending]]
"""Wraps a call that is made for a turn, by the model's name and what it may take, as estimated.

Entering raises `BudgetSpent` when it must not be made, and `StorageDown`. Leaving counts what was used.
"""


@asynccontextmanager
async def unmetered(turn: Turn, model: str, estimate: Tokens) -> AsyncIterator[Spending]:
    """The `Meter` of a model that costs nothing."""
    yield Spending()
