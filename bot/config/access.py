"""Access settings, a part of `Settings`: allow-lists, rate limits, budgets and prices."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, NoDecode

from bot.config.amounts import (
    Amount,
    Price,
    amount,
    prices,
)
from bot.config.platform import PlatformSettings


def split_commas(value: Any) -> Any:
    """Return the entries of a comma-separated list."""
    return frozenset(re.findall(r"[^,\s]+", value)) if isinstance(value, str) else value


def require_prefix(ids: frozenset[str], examples: Sequence[str]) -> frozenset[str]:
    """Return the ids, each with its platform. Raises `ValueError`, which names the examples."""
    wrong = sorted(each for each in ids if not re.fullmatch(r"[a-z]+:\S+", each))
    if wrong:
        example = " or ".join(examples)
        raise ValueError(f"write each as platform:id, for example {example}; not {wrong[0]!r}")
    return ids


def secret_value(secret: SecretStr | None) -> str | None:
    """Return a secret as plain text, for the client that sends it."""
    return secret.get_secret_value() if secret else None


def one_line(key: SecretStr) -> SecretStr:
    """Return a key, which is sent in a header, without surrounding blanks. Raises `ValueError`."""
    value = key.get_secret_value().strip()
    if not value.isprintable():
        raise ValueError("must be on one line, of printable characters")
    return SecretStr(value)


Ids = Annotated[frozenset[str], NoDecode, BeforeValidator(split_commas)]
"""A comma-separated list of `<platform>:<id>`; the form of its entries is checked by `Settings`."""

Budget = Annotated[Amount | None, NoDecode, BeforeValidator(amount)]
"""`200000 tokens` or `2.50 EUR`."""

Prices = Annotated[Mapping[str, Price], NoDecode, BeforeValidator(prices)]
"""`{"model": [input, output]}`."""


class AccessSettings(BaseSettings):
    """Allow-lists, rate limits, budgets and prices."""

    allowed_spaces: Ids = Field(
        frozenset(),
        description="workspaces and servers where the bot answers: `slack:T…,discord:…`; `slack:*` stands "
        "for all workspaces, `discord:dm` for Discord's direct messages, `http:api` for the HTTP surface; "
        "default everywhere",
    )
    allowed_roles: Ids = Field(
        frozenset(), description="Discord roles whose members can talk to the bot, too: `discord:…`"
    )
    allowed_bots: Ids = Field(
        frozenset(),
        description="other bots that are answered: `slack:B…` or `slack:U…`, `discord:…`; default none",
    )
    allow_external: Literal["no", "chat", "all"] = Field(
        "no",
        description="users from other organisations (Slack Connect) and guests: `no` refuses them, `chat` "
        "answers without the database and plug-ins, `all` treats them like members "
        "([how](access.md#external-people))",
    )
    bot_loop_limit: PositiveInt = Field(
        5,
        description="maximum number of consecutive answers to bots in a thread, until a person writes there",
    )
    bot_hour_limit: PositiveInt = Field(
        30,
        description="maximum number of answers to bots per hour in a channel, including its threads",
    )
    user_rate: PositiveInt | None = Field(
        None,
        description="answered messages of one user per minute, at most; default no limit",
    )
    channel_rate: PositiveInt | None = Field(
        None,
        description="answered messages in one channel per minute, at most; default no limit",
    )
    user_turns: PositiveInt = Field(
        3,
        description="concurrent turns of one user in a process, at most and below MAX_WORKERS; others wait "
        "([how](access.md#fair-shares))",
    )
    channel_turns: PositiveInt = Field(
        5, description="maximum number of concurrent turns in one channel, in the same way"
    )
    budget_user: Budget = Field(
        None, description="budget of each user per day: `200000 tokens` or `2.50 EUR`; default no limit"
    )
    budget_channel: Budget = Field(None, description="budget of each channel per day")
    budget_space: Budget = Field(None, description="budget of each workspace or server per day")
    budget_total: Budget = Field(None, description="budget of all users together per day")
    model_prices: Prices = Field(
        {}, description='prices per million tokens read and written: `{"gpt-5-mini": [0.25, 2]}`'
    )

    @property
    def budgets(self) -> dict[str, Amount]:
        """Return the configured budgets by variable."""
        names = ("budget_user", "budget_channel", "budget_space", "budget_total")
        return {name.upper(): limit for name in names if (limit := getattr(self, name))}

    @property
    def currency(self) -> str:
        """Return the currency of MODEL_PRICES, if a budget names one."""
        return next((each.unit for each in self.budgets.values() if each.is_money), "")

    def id_problems(self, platforms: Sequence[PlatformSettings]) -> list[str]:
        """Return the lists with an id that nobody has on these platforms, one sentence each."""
        names = ("admin_users", "allowed_users", "allowed_channels", "approvers", "approvals_channel")
        listed = {name.upper(): getattr(self, name) for name in names}
        return [
            f"{name}: {problem}"
            for name, ids in listed.items()
            for each in platforms
            if (problem := each.id_problem({ids} if isinstance(ids, str) else ids))
        ]

    def open_platforms(self, platforms: Sequence[PlatformSettings]) -> list[PlatformSettings]:
        """Return the platforms where anybody can install the bot, and is answered."""
        return [] if self.allowed_spaces else [each for each in platforms if each.keeps_secrets]

    def space_problems(self, platforms: Sequence[PlatformSettings]) -> list[str]:
        """Return a sentence for each platform that must not be open to anybody in production."""
        return [
            f"ALLOWED_SPACES: must be set beside {each.keeps_secrets_with.upper()} when BOT_ENV=production, "
            f"because anybody can install the app: list who is answered, or {each.info.name}:* for all"
            for each in self.open_platforms(platforms)
        ]

    def budget_problems(self, models: Sequence[tuple[str, str]]) -> list[str]:
        """Return conflicts between budgets and prices; `models` are those in use, after their variables."""
        money = {name: each.unit for name, each in self.budgets.items() if each.is_money}
        names = ", ".join(money)
        if len(set(money.values())) > 1:
            return [f"{names}: use one currency for all, that of MODEL_PRICES"]
        return [
            f"MODEL_PRICES: add the price of {model!r} ({setting}), since {names} is in money"
            for setting, model in models
            if money and model not in self.model_prices
        ]
