"""Declarations of the slash commands and shortcuts on Slack, from which the manifest is made."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bot.chat import Json
from bot.commands import ask_texts, channel_texts, texts
from bot.commands.redis import texts as redis_texts
from bot.slack.api import SlackApi

HEALTH = "/agent-health"
STOP = "/agent-stop"
REDIS = "/agent-redis"
USAGE = "/agent-usage"
CHANNEL = "/agent-channel"
MEMORY = "/agent-memory"

ApiOf = Callable[[Mapping[str, Json]], SlackApi]
"""Function that returns Slack as the bot of a payload's workspace calls it."""

IsExternal = Callable[[Mapping[str, Json]], Awaitable[bool]]
"""Function that tells whether the user of a payload is a guest or from another organisation, as far as Slack
says."""


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """Slash command as Slack lists it.

    `verbatim` is the reason for which Slack must pass the text as it was typed; without one, Slack replaces
    names of users and channels by ids.
    """

    name: str
    description: str
    usage: str = ""
    verbatim: str = ""


ASK, ASK_ABOUT = "ask", "ask_about"
"""The `callback_id`s of the shortcuts; the form has that of the first."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """Shortcut as Slack lists it: `global`, or in the menu of a message."""

    callback_id: str
    kind: Literal["global", "message"]
    name: str
    description: str


SHORTCUTS: Sequence[Shortcut] = (
    Shortcut(ASK, "global", ask_texts.ASK, ask_texts.ASK_DESCRIPTION),
    Shortcut(ASK_ABOUT, "message", ask_texts.ASK_ABOUT, ask_texts.ASK_ABOUT_DESCRIPTION),
)

COMMANDS: Sequence[SlashCommand] = (
    SlashCommand(HEALTH, f"{texts.HEALTH}, only to you"),
    SlashCommand(
        REDIS,
        redis_texts.GROUP,
        "get KEY | set KEY VALUE [--ttl SECONDS] | del KEY | keys [PATTERN] | all | mset {…} | info",
        verbatim="a value is stored as it was typed",
    ),
    SlashCommand(
        CHANNEL,
        channel_texts.GROUP,
        "show | instructions TEXT | follow-up POLICY | model NAME | tools NAMES | reset",
        verbatim="instructions are stored as they were typed",
    ),
    SlashCommand(STOP, f"{texts.STOP}; in a thread, write !stop"),
    SlashCommand(USAGE, f"{texts.USAGE}, only to you", "[all]"),
    SlashCommand(
        MEMORY,
        "Show, correct, export or delete what I remember about you, only to you",
        "show | list | correct ID text | forget [ID] | export | link [code] | unlink",
    ),
)
"""All slash commands, in the order of the manifest."""
