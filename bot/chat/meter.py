"""Usage of the model: what its calls take, and the meter that counts it."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from bot.chat.events import Turn


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens that a model reads and writes."""

    input: int = 0
    output: int = 0


@dataclass(slots=True)
class Spending:
    """Usage of one call, None when nothing came of it; `warnings` are for the user."""

    used: Tokens | None = None
    warnings: tuple[str, ...] = ()


class Meter(Protocol):
    """Counts what the calls of a model take."""

    def measure(self, turn: Turn, model: str, estimate: Tokens) -> AbstractAsyncContextManager[Spending]:
        """Wrap a call that is made for a turn, by the model's name and its estimate.

        Entering raises `BudgetSpent` when it must not be made, and `StorageDown`. Leaving counts what was
        used.
        """
