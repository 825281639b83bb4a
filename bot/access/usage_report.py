"""Report of `/agent-usage`: a user's own usage today, and for administrators that of all users."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from bot.access.allow_list import AllowList
from bot.access.budget import TOTAL, now, until_midnight
from bot.access.spending import SpendingStore, Spent
from bot.config.amounts import Amount, money

_TOP = 5
_KINDS = {"user": "users", "channel": "channels", "space": "workspaces and servers", "model": "models"}

NOT_ADMIN = (
    "Only administrators can see everybody's usage. To see your own, leave out `all`. To become an "
    "administrator, ask the bot's operator to add you to ADMIN_USERS."
)


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
            return NOT_ADMIN
        moment = self.clock()
        day = moment.date().isoformat()
        until = f"resets at 00:00 UTC, in {until_midnight(moment)}"
        if of_all:
            return "\n".join(
                [f"**Today's usage of all users** ({until})", *self._all(await self.ledger.spent_by_all(day))]
            )
        spent = await self.ledger.spent_by(day, f"user {by}")
        lines = [f"- {self._described(spent)}", *self._left("BUDGET_USER", spent)]
        return "\n".join([f"**Your usage today** ({until})", *lines])

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
                yield f"\n**Top {title}**"
            most = sorted(named, key=lambda name: -named[name].of("tokens"))
            for name in most[:_TOP]:
                yield f"- `{name}`: {self._described(named[name])}"

    def _described(self, spent: Spent) -> str:
        unit = self.currency or "in the currency of MODEL_PRICES"
        cost = f", {money(spent.cost, unit)}" if self.has_prices else ""
        calls = "1 model call" if spent.calls == 1 else f"{spent.calls:,} model calls"
        return f"{spent.input:,} tokens read, {spent.output:,} tokens written{cost}, in {calls}"

    def _left(self, setting: str, spent: Spent) -> Iterator[str]:
        limit = self.limits.get(setting)
        if limit is None:
            return
        used = spent.of("cost" if limit.is_money else "tokens")
        left = limit.shown(max(0, limit.counted - used))
        yield f"- budget {limit}: {left} left"
