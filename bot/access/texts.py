"""Sentences about access: refusals by the allow-lists, rate limits, budgets and usage."""

from collections.abc import Mapping
from typing import Literal

from bot.chat import NameKind
from bot.chat.text import count

# allow-lists


def user_not_allowed(*, has_roles: bool, direct: bool) -> str:
    """Return the refusal of a user who is not listed; `has_roles`: roles are listed, too."""
    request = "add you to ALLOWED_USERS"
    if has_roles and direct:
        request += ", or write to me on a server where you have a role: roles do not count in direct messages"
    elif has_roles:
        request += ", or to give you one of the roles in ALLOWED_ROLES"
    return f"I am not allowed to answer you here. Ask the bot's operator to {request}."


SPACE_NOT_ALLOWED = (
    "I am not allowed to answer in this workspace or server. Ask the bot's operator to add it to "
    "ALLOWED_SPACES."
)
DIRECT_NOT_ALLOWED = (
    "I am not allowed to answer direct messages. Ask the bot's operator to add them to ALLOWED_SPACES."
)
ORGANISATION_NOT_ALLOWED = (
    "I am not allowed to answer users from your organisation here. Ask the bot's operator to add it to "
    "ALLOWED_SPACES."
)
EXTERNAL_NOT_ALLOWED = (
    "I am not allowed to answer guests or users from other organisations. Ask the bot's operator to change "
    "ALLOW_EXTERNAL."
)
CHANNEL_NOT_ALLOWED = (
    "I am not allowed to answer in this channel. Ask the bot's operator to add it to ALLOWED_CHANNELS."
)

# rate limits


def user_too_fast(most: int, seconds: int) -> str:
    """Return the refusal of a message over the limit of its author."""
    return f"You have reached the limit of {_per_minute(most)}. {_wait(seconds, 'USER_RATE')}"


def channel_too_fast(most: int, seconds: int) -> str:
    """Return the refusal of a message over the limit of its channel."""
    return f"This channel has reached the limit of {_per_minute(most)}. {_wait(seconds, 'CHANNEL_RATE')}"


def _per_minute(most: int) -> str:
    return f"{count(most, 'message')} per minute"


def _wait(seconds: int, setting: str) -> str:
    return f"Try again in {count(seconds, 'second')}, or ask the bot's operator to raise {setting}."


def bots_in_a_row(most: int) -> str:
    """Return the last answer to another bot in a thread."""
    return (
        f"I have answered {count(most, 'message')} from bots in a row in this thread, and will not answer "
        "bots here again until a person writes. The bot's operator can change this limit with BOT_LOOP_LIMIT."
    )


# budgets

_WHOSE = {
    "BUDGET_USER": "Your budget",
    "BUDGET_CHANNEL": "This channel's budget",
    "BUDGET_SPACE": "The budget of this workspace or server",
    "BUDGET_TOTAL": "The bot's total budget",
}


def budget_warning(setting: str, percent: int, spent: str, most: str, minutes: int) -> str:
    """Return the warning below an answer; the budget resets in `minutes`."""
    return f"_{_WHOSE[setting]} for today is {percent} % used: {spent} of {most}. {_resets(minutes)}_"


def budget_used_up(setting: str, spent: str, most: str, minutes: int, *, is_reserved: bool) -> str:
    """Return the refusal of a call over a budget; `is_reserved`: running calls have reserved the rest."""
    rest = ", and the rest is reserved for running answers" if is_reserved else ""
    return (
        f"{_WHOSE[setting]} for today is used up: {spent} of {most}{rest}. {_resets(minutes)} "
        f"If you need more, ask the bot's operator to raise {setting}."
    )


def _resets(minutes: int) -> str:
    return f"It resets at 00:00 UTC, in {duration(minutes)}."


def duration(minutes: int) -> str:
    """Return a time in hours and minutes."""
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"


# usage

NOT_ADMIN = (
    "Only administrators of the bot can see everybody's usage. To see your own, leave out `all`. To become "
    "an administrator, ask the bot's operator to add you to ADMIN_USERS."
)


def usage_title(minutes: int, *, of_all: bool) -> str:
    """Return the first line of a report on a day that ends in `minutes`."""
    title = "Today's usage of all users" if of_all else "Your usage today"
    return f"**{title}** (resets at 00:00 UTC, in {duration(minutes)})"


TOP_TITLES: Mapping[NameKind | Literal["model"], str] = {
    "user": "Top users",
    "channel": "Top channels",
    "space": "Top workspaces and servers",
    "model": "Top models",
}
"""Titles of the lists in a report, by the kind of account."""

_WITHOUT_NAME: Mapping[NameKind, str] = {
    "user": "somebody",
    "channel": "a private or unknown channel",
    "space": "an unknown workspace or server",
}


def account(kind: NameKind, name: str, location: str) -> str:
    """Return an account of a report; `name` is empty if it is not shown, `location` as in `PlatformInfo`."""
    shown = "`{}`".format(name.replace("`", "'")) if name else _WITHOUT_NAME[kind]
    return f"{shown} {location}"


UNKNOWN_CURRENCY = "in the currency of MODEL_PRICES"


def usage(tokens_read: int, tokens_written: int, calls: int, cost: str) -> str:
    """Return the usage in one line; `cost` is empty if it is not known."""
    costs = f", {cost}" if cost else ""
    return (
        f"{tokens_read:,} tokens read, {tokens_written:,} tokens written{costs}, "
        f"in {count(calls, 'model call')}"
    )


def budget_left(most: str, left: str) -> str:
    """Return the line about a budget in a report."""
    return f"- budget {most}: {left} left"


def usage_of_month(used: str) -> str:
    """Return the line about this month in a report; it begins and ends at 00:00 UTC, as days do."""
    return f"- this month: {used}"


def feedback(good: int, bad: int) -> str:
    """Return the line about the feedback on answers in a report of all usage."""
    return f"- feedback: {good:,} 👍, {bad:,} 👎"
