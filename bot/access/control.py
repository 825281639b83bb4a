"""Access control: users who can talk to the bot, how often, and at what cost, according to the settings."""

import logging
from dataclasses import dataclass

from redis.asyncio import Redis

from bot.access.allow_list import AllowList
from bot.access.budget import Budget
from bot.access.rate_limits import MessageRates, RateLimiter
from bot.access.spending import Counters, SpendingStore
from bot.access.usage_report import UsageReport
from bot.chat import Admit, Ignore, Message, Refuse
from bot.config import Settings

log = logging.getLogger(__name__)

_OVER_TURN_SECONDS = 60
"""Time after the turn limit when the reservation of a call expires: the call must have ended by then."""


@dataclass(frozen=True, slots=True)
class AccessControl:
    """Access control, a `bot.chat.Admission`; without a model no usage is counted."""

    allow_list: AllowList
    rate_limiter: RateLimiter
    budget: Budget | None = None
    usage: UsageReport | None = None

    async def check(self, message: Message) -> Admit | Refuse | Ignore:
        """Check the allow-lists, then count the message; a decision is admitted as its request was."""
        if message.decision:
            return Admit()
        admission = await self.allow_list.check(message)
        return await self.rate_limiter.check(message) if isinstance(admission, Admit) else admission


def build_access_control(settings: Settings, redis: Redis, counters: Counters | None = None) -> AccessControl:
    """Return the access control for these settings, without a request to Redis."""
    for each in settings.open_platforms(settings.each_platform()):
        log.warning("allowed spaces not set, all who install it are answered", extra={"app": each.info.title})
    is_listed = bool(settings.allowed_users or settings.allowed_roles)
    allow_list = AllowList(
        admins=settings.admin_users,
        # otherwise approvers could not decide in words
        users=settings.allowed_users | settings.approvers if is_listed else frozenset(),
        channels=settings.allowed_channels,
        spaces=settings.allowed_spaces,
        roles=settings.allowed_roles,
        bots=settings.allowed_bots,
        external=settings.allow_external,
        hooks={each.author: each.has_all_tools for each in settings.each_hook},
    )
    limits = MessageRates(
        user=settings.user_rate,
        channel=settings.channel_rate,
        bot_row=settings.bot_loop_limit,
        bot_hour=settings.bot_hour_limit,
    )
    rate_limiter = RateLimiter(redis, limits, allow_list.is_admin, hears_bots=bool(settings.allowed_bots))
    if not settings.has_model:
        return AccessControl(allow_list, rate_limiter)
    store = SpendingStore(redis, settings.turn_timeout + _OVER_TURN_SECONDS, counters)
    return AccessControl(
        allow_list,
        rate_limiter,
        Budget(store, settings.budgets, settings.model_prices),
        UsageReport(store, settings.budgets, settings.currency, bool(settings.model_prices), allow_list),
    )
