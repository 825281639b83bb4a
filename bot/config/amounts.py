"""What may be spent, and what models cost: the values of BUDGET_… and MODEL_PRICES. Pure."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

TOKENS = "tokens"
MICRO = 1_000_000
"""Money is counted in whole millionths of its unit, which a price per million tokens makes exact."""


@dataclass(frozen=True, slots=True)
class Amount:
    """So many `tokens`, or so much money; the currency (`USD`) is only a label."""

    number: Decimal
    unit: str

    @property
    def is_money(self) -> bool:
        """Whether it takes prices to count it."""
        return self.unit != TOKENS

    @property
    def counted(self) -> int:
        """The number as it is counted: tokens, or millionths of the currency."""
        return int(self.number * MICRO) if self.is_money else int(self.number)

    def shown(self, counted: int) -> str:
        """So much of the same unit, for people."""
        return money(counted, self.unit) if self.is_money else f"{counted:,} {TOKENS}"

    def __str__(self) -> str:
        return self.shown(self.counted)


def money(micros: int, currency: str) -> str:
    """Millionths of a currency, for people: cents, and more digits of what is less than one."""
    value = Decimal(micros) / MICRO
    digits = 2 if value >= 1 or not micros else 4
    return f"{value:,.{digits}f} {currency}".strip()


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, of what a model reads and of what it writes."""

    input: Decimal
    output: Decimal

    def of(self, input: int, output: int) -> int:
        """The price of so many tokens, in millionths, rounded up."""
        exact = self.input * input + self.output * output
        return int(exact.to_integral_value("ROUND_CEILING"))


def amount(text: Any) -> Any:
    """Read `200000 tokens` or `2.50 EUR`. Raises `ValueError` with what to write instead."""
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s+(tokens|[A-Z]{3})\s*", text)
    if not match or Decimal(match[1]) <= 0 or (match[2] == TOKENS and "." in match[1]):
        raise ValueError("write a number and its unit, such as 200000 tokens or 2.50 EUR")
    return Amount(Decimal(match[1]), match[2])


def prices(text: Any) -> Any:
    """Read `{"model": [input, output]}`. Raises `ValueError` with what to write instead."""
    if not isinstance(text, str):
        return text
    try:
        parsed = json.loads(text, parse_float=Decimal, parse_int=Decimal)
        return {str(model): _price(*pair) for model, pair in parsed.items()}
    except (ValueError, TypeError, AttributeError, InvalidOperation):
        raise ValueError(
            'write the prices of a million tokens read and written as JSON: {"gpt-5-mini": [0.25, 2]}'
        ) from None


def _price(input: Any, output: Any) -> Price:
    if not all(isinstance(each, Decimal) and 0 <= each < MICRO for each in (input, output)):
        raise ValueError("a price is a number that is not negative")
    return Price(input, output)
