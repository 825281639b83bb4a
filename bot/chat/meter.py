"""Usage of the model, and the meter that counts it."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from bot.chat.events import Turn


@dataclass(frozen=True, slots=True)
class Tokens:
    """Number of tokens that a model reads and writes."""

    input: int = 0
    output: int = 0


@dataclass(slots=True)
class CallUsage:
    """Usage of one call, None if it returned nothing; `warnings` are for the user."""

    tokens: Tokens | None = None
    warnings: tuple[str, ...] = ()


class Meter(Protocol):
    """Meter for the calls of a model."""

    def measure(self, turn: Turn, model: str, estimate: Tokens) -> AbstractAsyncContextManager[CallUsage]:
        """Return a context for one model call of a turn, with an estimate of its usage.

        Entering raises `BudgetExceeded` if the call is not allowed, and `StorageDown`. Leaving counts the
        usage.
        """
