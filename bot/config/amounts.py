"""Amounts and prices: the values of BUDGET_… and MODEL_PRICES. Pure."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

TOKENS = "tokens"
MICRO = 1_000_000
"""Millionths of a currency unit, in which money is counted: exact for prices per million tokens."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Number of `tokens`, or amount of money; the currency (`USD`) is only a label."""

    number: Decimal
    unit: str

    @property
    def is_money(self) -> bool:
        """Return True for an amount of money, which needs prices."""
        return self.unit != TOKENS

    @property
    def units(self) -> int:
        """Return the amount as an integer: tokens, or millionths of the currency."""
        return int(self.number * MICRO) if self.is_money else int(self.number)

    def format(self, units: int) -> str:
        """Format another amount of the same unit for users."""
        return money(units, self.unit) if self.is_money else f"{units:,} {TOKENS}"

    def __str__(self) -> str:
        return self.format(self.units)


def money(micros: int, currency: str) -> str:
    """Format millionths of a currency for users: two digits, or four for amounts below one."""
    value = Decimal(micros) / MICRO
    digits = 2 if value >= 1 or not micros else 4
    return f"{value:,.{digits}f} {currency}".strip()


@dataclass(frozen=True, slots=True)
class Price:
    """Price of a million input tokens and of a million output tokens."""

    input: Decimal
    output: Decimal

    def of(self, input: int, output: int) -> int:
        """Return the price of a number of tokens in millionths, rounded up."""
        exact = self.input * input + self.output * output
        return int(exact.to_integral_value("ROUND_CEILING"))


def amount(text: Any) -> Any:
    """Parse `200000 tokens` or `2.50 EUR`. Raises `ValueError` with the expected form."""
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s+(tokens|[A-Z]{3})\s*", text)
    if not match or Decimal(match[1]) <= 0 or (match[2] == TOKENS and "." in match[1]):
        raise ValueError("write a number and its unit, such as 200000 tokens or 2.50 EUR")
    return Amount(Decimal(match[1]), match[2])


def prices(text: Any) -> Any:
    """Parse `{"model": [input, output]}`. Raises `ValueError` with the expected form."""
    if not isinstance(text, str):
        return text
    try:
        parsed = json.loads(text, parse_float=Decimal, parse_int=Decimal)
        return {str(model): _price(*pair) for model, pair in parsed.items()}
    except (ValueError, TypeError, AttributeError, InvalidOperation):
        raise ValueError(
            'write the prices per million tokens read and written as JSON: {"gpt-5-mini": [0.25, 2]}'
        ) from None


def _price(input: Any, output: Any) -> Price:
    if not all(isinstance(each, Decimal) and 0 <= each < MICRO for each in (input, output)):
        raise ValueError("a price must be a number that is not negative")
    return Price(input, output)
