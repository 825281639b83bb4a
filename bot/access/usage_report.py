"""Report of `/agent-usage`: a user's own usage, and for administrators that of all users today."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bot.access import texts
from bot.access.allow_list import AllowList
from bot.access.budget import TOTAL, now, until_midnight
from bot.access.spending import SpendingStore, Usage
from bot.chat import NameKind, Names, Vote, harmless, platform_info
from bot.chat.text import one_line
from bot.config.amounts import Amount, money

_TOP = 5
_MOST_NAME = 60


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Usage report in Markdown, for the caller only; `limits` are the budgets by their settings."""

    store: SpendingStore
    limits: Mapping[str, Amount]
    currency: str
    has_prices: bool
    access: AllowList
    clock: Callable[[], datetime] = now
    feedback: Callable[[str], Awaitable[Mapping[Vote, int]]] | None = None
    """Function that counts the votes on answers of a day; without it there are none."""

    async def __call__(self, by: str, of_all: bool, *, names: Names) -> str:
        """Return the usage of `by` today and in this month, or for an administrator that of all users today.

        Raises `StorageDown`.
        """
        if of_all and not self.access.is_admin(by):
            return texts.NOT_ADMIN
        moment = self.clock()
        day = moment.date().isoformat()
        title = texts.usage_title(until_midnight(moment), of_all=of_all)
        if of_all:
            return "\n".join([title, *await self._totals(day, names)])
        account = f"user {by}"
        spent = await self.store.usage_of(day, account)
        month = texts.usage_of_month(self._describe(await self.store.usage_of_month(day, account)))
        return "\n".join([title, f"- {self._describe(spent)}", *self._remaining("BUDGET_USER", spent), month])

    async def _totals(self, day: str, names: Names) -> list[str]:
        accounts = await self.store.usage_of_all(day)
        total = accounts.get(TOTAL, Usage())
        lines = [f"- {self._describe(total)}", *self._remaining("BUDGET_TOTAL", total)]
        if self.feedback:
            votes = await self.feedback(day)
            lines.append(texts.feedback(votes.get("up", 0), votes.get("down", 0)))
        return [*lines, *await self._tops(accounts, names)]

    async def _tops(self, accounts: Mapping[str, Usage], names: Names) -> Sequence[str]:
        """Return the lists of the accounts that have used most, by name."""
        lines: list[str] = []
        for kind, title in texts.TOP_TITLES.items():
            used = {
                id: each
                for account, each in accounts.items()
                for of, _, id in [account.partition(" ")]
                if of == kind
            }
            most = sorted(used, key=lambda id: -used[id].of("tokens"))[:_TOP]
            shown = await asyncio.gather(*(_shown(kind, id, names) for id in most))
            lines += [f"\n**{title}**"] if most else []
            lines += [f"- {name}: {self._describe(used[id])}" for name, id in zip(shown, most, strict=True)]
        return lines

    def _describe(self, usage: Usage) -> str:
        cost = money(usage.cost, self.currency or texts.UNKNOWN_CURRENCY) if self.has_prices else ""
        return texts.usage(usage.input, usage.output, usage.calls, cost)

    def _remaining(self, setting: str, usage: Usage) -> Iterator[str]:
        limit = self.limits.get(setting)
        if limit is None:
            return
        used = usage.of("cost" if limit.is_money else "tokens")
        left = limit.format(max(0, limit.units - used))
        yield texts.budget_left(str(limit), left)


async def _shown(kind: NameKind | Literal["model"], id: str, names: Names) -> str:
    """Return the name of an account with its platform; users choose names, so nothing in one is markup."""
    if kind == "model":
        return f"`{id}`"
    name = one_line(harmless(await names.name_of(kind, id)), _MOST_NAME)
    return texts.account(kind, name, platform_info(id.partition(":")[0]).location)
