"""Budgets: limits on model usage per day, checked before each call and charged after it.

A call may start while its budgets are neither used up nor reserved by running calls; its estimate is then
reserved until its usage is known. So a day can exceed a budget by the usage of the last call that started,
plus what running calls use beyond their estimates.
"""

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from bot.access import texts
from bot.access.origin import scopes_of
from bot.access.spending import (
    Cap,
    CapReached,
    SpendingStore,
    Usage,
)
from bot.chat import Author, BudgetExceeded, CallUsage, Json, ModelUse, StorageDown, Tokens, Turn
from bot.config.amounts import Amount, Price

log = logging.getLogger(__name__)

TOTAL = "total"

_MOST_TURNS = 1_000
"""Most turns whose usage is in memory: of more the oldest is dropped, whose details then say less."""


def now() -> datetime:
    """Return the time in UTC, by which days are counted."""
    return datetime.now(UTC)


class Budget:
    """Budgets of users and places; a `bot.chat.Meter` and `PersonalDataSource`.

    `limits` are the amounts by their settings (BUDGET_…).
    """

    name = "usage"

    def __init__(
        self,
        store: SpendingStore,
        limits: Mapping[str, Amount],
        prices: Mapping[str, Price],
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._store = store
        self._limits = limits
        self._prices = prices
        self._clock = clock
        self._by_turn: OrderedDict[str, dict[str, ModelUse]] = OrderedDict()

    def take_usage(self, turn: Turn) -> Mapping[str, ModelUse]:
        """Return, by model, what a turn has used in this process, and forget it."""
        return self._by_turn.pop(turn.id, {})

    @asynccontextmanager
    async def measure(self, turn: Turn, model: str, estimate: Tokens) -> AsyncIterator[CallUsage]:
        """Reserve the estimate during a call, then count its usage."""
        day = self._clock().date().isoformat()
        rules = list(self._rules(turn))
        hold = await self._hold(day, rules, estimate, self._cost(model, estimate))
        usage = CallUsage()
        try:
            yield usage
        finally:
            usage.warnings = await self._settle(day, hold, rules, turn, model, usage.tokens)

    async def _hold(self, day: str, rules: Sequence[tuple[str, Cap]], estimate: Tokens, cost: int) -> str:
        if not rules:
            return ""
        tokens = estimate.input + estimate.output
        held = await self._store.hold(day, [cap for _, cap in rules], tokens, cost)
        if isinstance(held, CapReached):
            setting, cap = rules[held.index]
            limit = self._limits[setting]
            raise BudgetExceeded(
                texts.budget_used_up(
                    setting,
                    limit.format(held.amount),
                    str(limit),
                    until_midnight(self._clock()),
                    is_reserved=held.amount < cap.most,
                )
            )
        return held

    async def _settle(
        self,
        day: str,
        hold: str,
        rules: Sequence[tuple[str, Cap]],
        turn: Turn,
        model: str,
        used: Tokens | None,
    ) -> tuple[str, ...]:
        """Count the usage; if the store fails, log it and keep the answer."""
        try:
            if used is None:
                if hold:
                    await self._store.give_back(day, hold)
                return ()
            usage = Usage(used.input, used.output, self._cost(model, used))
            self._note(turn, model, usage)
            accounts = [*accounts_of(turn), f"model {model}"]
            told = await self._store.settle(day, hold, accounts, usage, [cap for _, cap in rules])
        except StorageDown as error:
            log.warning("spending not counted", extra={"model": model, "error": str(error)})
            return ()
        return tuple(self._warning(rules[place], amount) for place, amount in told)

    def _note(self, turn: Turn, model: str, usage: Usage) -> None:
        known = self._by_turn.setdefault(turn.id, {})
        before = known.get(model, ModelUse())
        known[model] = ModelUse(
            before.input + usage.input,
            before.output + usage.output,
            before.cost + usage.cost,
            before.calls + 1,
        )
        if len(self._by_turn) > _MOST_TURNS:
            self._by_turn.popitem(last=False)

    def _warning(self, rule: tuple[str, Cap], amount: int) -> str:
        setting, cap = rule
        limit, minutes = self._limits[setting], until_midnight(self._clock())
        return texts.budget_warning(
            setting, 100 * amount // cap.most, limit.format(amount), str(limit), minutes
        )

    def _rules(self, turn: Turn) -> list[tuple[str, Cap]]:
        """Return the budgets that a turn is charged to, each with its setting."""
        return [
            (setting, Cap(account, "cost" if limit.is_money else "tokens", limit.units))
            for account in accounts_of(turn)
            if (limit := self._limits.get(setting := f"BUDGET_{account.partition(' ')[0].upper()}"))
        ]

    async def export(self, user: Sequence[Author]) -> Mapping[str, Json]:
        """Return the usage of a user, by account and day."""
        days = {each.id: await self._store.usage_by_day(f"user {each.id}") for each in user}
        usage = {author: {day: asdict(each) for day, each in spent.items()} for author, spent in days.items()}
        return {"usage": usage}

    async def erase(self, user: Sequence[Author]) -> None:
        """Remove the usage of a user; with budgets today's count stays, so that nobody can reset one."""
        today = self._clock().date().isoformat() if self._limits else ""
        await self._store.forget([f"user {each.id}" for each in user], keep_day=today)

    def _cost(self, model: str, tokens: Tokens) -> int:
        price = self._prices.get(model)
        return price.of(tokens.input, tokens.output) if price else 0


def accounts_of(turn: Turn) -> list[str]:
    """Return the accounts that a turn is charged to: each of its authors in full, and the place once."""
    place = scopes_of(turn.messages[0])
    users = [f"user {author}" for author in turn.authors]
    return [*users, f"channel {place.channel}", f"space {place.space}", TOTAL]


def until_midnight(moment: datetime) -> int:
    """Return the minutes until the next day begins."""
    midnight = (moment + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return max(1, round((midnight - moment).total_seconds() / 60))
