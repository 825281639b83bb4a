"""Report of `/agent-usage`: a user's own usage today, and for administrators that of all users."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from bot.access import texts
from bot.access.allow_list import AllowList
from bot.access.budget import TOTAL, now, until_midnight
from bot.access.spending import SpendingStore, Spent
from bot.config.amounts import Amount, money

_TOP = 5


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Usage report in Markdown, for the caller only; `limits` are the budgets by their settings."""

    ledger: SpendingStore
    limits: Mapping[str, Amount]
    currency: str
    has_prices: bool
    access: AllowList
    clock: Callable[[], datetime] = now

    async def __call__(self, by: str, of_all: bool) -> str:
        """Return today's usage of `by`, or of all users for an administrator. Raises `StorageDown`."""
        if of_all and not self.access.is_admin(by):
            return texts.NOT_ADMIN
        moment = self.clock()
        day = moment.date().isoformat()
        title = texts.usage_title(until_midnight(moment), of_all=of_all)
        if of_all:
            return "\n".join([title, *self._all(await self.ledger.spent_by_all(day))])
        spent = await self.ledger.spent_by(day, f"user {by}")
        return "\n".join([title, f"- {self._described(spent)}", *self._left("BUDGET_USER", spent)])

    def _all(self, accounts: Mapping[str, Spent]) -> Iterator[str]:
        total = accounts.get(TOTAL, Spent())
        yield f"- {self._described(total)}"
        yield from self._left("BUDGET_TOTAL", total)
        for kind, title in texts.TOP_TITLES.items():
            named = {
                name: each
                for account, each in accounts.items()
                for of, _, name in [account.partition(" ")]
                if of == kind
            }
            if named:
                yield f"\n**{title}**"
            most = sorted(named, key=lambda name: -named[name].of("tokens"))
            for name in most[:_TOP]:
                yield f"- `{name}`: {self._described(named[name])}"

    def _described(self, spent: Spent) -> str:
        cost = money(spent.cost, self.currency or texts.UNKNOWN_CURRENCY) if self.has_prices else ""
        return texts.usage(spent.input, spent.output, spent.calls, cost)

    def _left(self, setting: str, spent: Spent) -> Iterator[str]:
        limit = self.limits.get(setting)
        if limit is None:
            return
        used = spent.of("cost" if limit.is_money else "tokens")
        left = limit.shown(max(0, limit.counted - used))
        yield texts.budget_left(str(limit), left)
