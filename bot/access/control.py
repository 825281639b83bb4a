"""Who may talk to the bot, how often, and what that may cost: put together from the settings."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from redis.asyncio import Redis

from bot.access.allow_list import Access
from bot.access.budget import Budget
from bot.access.rate_limits import Limits, Rates
from bot.access.spending import Ledger
from bot.access.usage_report import UsageReport
from bot.chat import Json, Message, Meter, unmetered
from bot.commands.commands import Commands, Usage, nothing_used
from bot.config import Settings

_OVER_TURN_SECONDS = 60
"""A call ends with its turn; so long after that limit it is taken for dead."""


Forget = Callable[[Sequence[str]], Awaitable[None]]
"""Removes what is kept about authors. Raises `StorageDown`."""


async def nothing_to_forget(authors: Sequence[str]) -> None:
    """Where nothing is counted."""


Tell = Callable[[Sequence[str]], Awaitable[Json]]
"""What is kept about authors. Raises `StorageDown`."""


async def nothing_to_tell(authors: Sequence[str]) -> Json:
    """Where nothing is counted."""
    return {}


@dataclass(frozen=True, slots=True)
class Gate:
    """`meter` and `usage` do nothing where the model costs nothing."""

    access: Access
    rates: Rates
    meter: Meter
    usage: Usage
    forget: Forget
    tell: Tell

    def reception(self, commands: Commands) -> Callable[[Message], Awaitable[str | None]]:
        """See `bot.turn.Reception`. Who may not talk runs no command; a command counts as a message.

        A decision about a request passes: it stands for whoever has made the request, and was let through.
        """

        async def receive(message: Message) -> str | None:
            if message.decision:
                return None
            for answer in (self.access.refusal, self.rates.refusal, commands.said):
                words = await answer(message)
                if words is not None:
                    return words
            return None

        return receive


def gate(settings: Settings, redis: Redis) -> Gate:
    """What `settings` ask for; makes no request yet."""
    is_listed = bool(settings.allowed_users or settings.allowed_roles)
    access = Access(
        admins=settings.admin_users,
        # or who may approve could not say so in words
        users=settings.allowed_users | settings.approvers if is_listed else frozenset(),
        channels=settings.allowed_channels,
        spaces=settings.allowed_spaces,
        roles=settings.allowed_roles,
        bots=settings.allowed_bots,
        external=settings.allow_external,
    )
    limits = Limits(
        user=settings.user_rate,
        channel=settings.channel_rate,
        bot_row=settings.bot_loop_limit,
        bot_hour=settings.bot_hour_limit,
    )
    rates = Rates(redis, limits, access.is_admin, hears_bots=bool(settings.allowed_bots))
    if not settings.has_model:
        return Gate(access, rates, unmetered, nothing_used, nothing_to_forget, nothing_to_tell)
    ledger = Ledger(redis, hold_seconds=settings.turn_timeout + _OVER_TURN_SECONDS)
    budget = Budget(ledger, settings.budgets, settings.model_prices)
    usage = UsageReport(ledger, settings.budgets, settings.currency, bool(settings.model_prices), access)

    async def forget(authors: Sequence[str]) -> None:
        # what a budget is counted by stays for its day: else it could be made new at will
        today = datetime.now(UTC).date().isoformat() if settings.budgets else ""
        await ledger.forget([f"user {author}" for author in authors], keep_day=today)

    async def tell(authors: Sequence[str]) -> Json:
        days = {author: await ledger.spent_on_days(f"user {author}") for author in authors}
        return {author: {day: asdict(each) for day, each in spent.items()} for author, spent in days.items()}

    return Gate(access, rates, budget, usage, forget, tell)
