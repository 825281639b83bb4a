"""Report of `/agent-usage`: a user's own usage today, and for administrators that of all users."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from bot.access.allow_list import Access
from bot.access.budget import TOTAL, now, until_midnight
from bot.access.spending import Ledger, Spent
from bot.config.amounts import Amount, money

_TOP = 5
_KINDS = {"user": "people", "channel": "channels", "space": "workspaces and servers", "model": "models"}

NOT_ADMIN = (
    "What all have used is for administrators only. Ask the bot's operator to add you to ADMIN_USERS; what "
    "you have used yourself I show you without `all`."
)


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Markdown for the caller's eyes; `limits` are the budgets by their settings. Raises `StorageDown`."""

    ledger: Ledger
    limits: Mapping[str, Amount]
    currency: str
    has_prices: bool
    access: Access
    clock: Callable[[], datetime] = now

    async def __call__(self, by: str, of_all: bool) -> str:
        """Return what `by` has used today, or all users have, which only administrators are told."""
        if of_all and not self.access.is_admin(by):
            return NOT_ADMIN
        moment = self.clock()
        day = moment.date().isoformat()
        until = f"until 00:00 UTC, in {until_midnight(moment)}"
        if of_all:
            return "\n".join(
                [f"**Used today by all** ({until})", *self._all(await self.ledger.spent_by_all(day))]
            )
        spent = await self.ledger.spent_by(day, f"user {by}")
        lines = [f"- {self._described(spent)}", *self._left("BUDGET_USER", spent)]
        return "\n".join([f"**You have used today** ({until})", *lines])

    def _all(self, accounts: Mapping[str, Spent]) -> Iterator[str]:
        total = accounts.get(TOTAL, Spent())
        yield f"- {self._described(total)}"
        yield from self._left("BUDGET_TOTAL", total)
        for kind, title in _KINDS.items():
            named = {
                name: each
                for account, each in accounts.items()
                for of, _, name in [account.partition(" ")]
                if of == kind
            }
            if named:
                yield f"\n**Most used, {title}**"
            most = sorted(named, key=lambda name: -named[name].of("tokens"))
            for name in most[:_TOP]:
                yield f"- `{name}`: {self._described(named[name])}"

    def _described(self, spent: Spent) -> str:
        unit = self.currency or "in the currency of MODEL_PRICES"
        cost = f", {money(spent.cost, unit)}" if self.has_prices else ""
        calls = "1 call" if spent.calls == 1 else f"{spent.calls:,} calls"
        return f"{spent.input:,} tokens read, {spent.output:,} written{cost}, in {calls} of the model"

    def _left(self, setting: str, spent: Spent) -> Iterator[str]:
        limit = self.limits.get(setting)
        if limit is None:
            return
        used = spent.of("cost" if limit.is_money else "tokens")
        left = limit.shown(max(0, limit.counted - used))
        yield f"- budget {limit}: {left} left"
