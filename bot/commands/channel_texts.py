"""Sentences of `/agent-channel`, as Markdown. Pure."""

import time
from collections.abc import Collection, Mapping
from typing import get_args

from bot.chat import (
    CHANNEL_SETTINGS,
    ChannelChange,
    ChannelSetting,
    ChannelSettings,
    FollowUp,
    Json,
    platform_info,
)
from bot.commands.redis.texts import code_block, inline_code

GROUP = "Settings of this channel, for administrators of the bot"
SHOW = "Show the settings of this channel"
INSTRUCTIONS = "Set what the bot is for in this channel"
FOLLOW_UP = "Set which messages the bot answers in its threads without a mention"
MODEL = "Set the language model that answers in this channel"
TOOLS = "Set the tools that the bot can use in this channel"
RESET = "Remove all settings of this channel"

TEXT = "Your instructions for the model; `default` removes them"
POLICY = "always, partner (while one single user talks with it) or mention; `default` removes it"
NAME = "A model that the bot's operator allows; `default` removes it"
NAMES = "Names of tools, separated by commas; `none`, or `default` for all"
"""Descriptions of subcommands and their options on Discord."""

USAGE = """\
Settings of this channel and its threads:
- `show` shows them
- `instructions TEXT` tells the model what the bot is for here
- `follow-up always|partner|mention`: which messages are answered in a thread without a mention
- `model NAME`: the language model that answers
- `tools NAME, NAME`: the tools that can be used, or `none`
- `reset` removes all; with `default` in place of a value only that one"""

POLICIES: Mapping[FollowUp, str] = {
    "always": "every message in a thread where I take part",
    "partner": "messages of one single user who talks with me in a thread",
    "mention": "only messages that mention me",
}

FORM = "Settings of the channel"
FORM_INSTRUCTIONS, FORM_FOLLOW_UP, FORM_RESET = "Instructions", "Answered without a mention", "Reset"
FORM_RESET_OPTION = "Remove all settings of this channel"
FORM_SEND, FORM_CANCEL = "Save", "Cancel"
"""Texts of the form; Slack takes at most 24 characters of a title or button."""

OTHERS = "Set them with `/agent-channel model` and `/agent-channel tools`."
FORM_NOT_OPENED = "I could not open the form, so here are the settings. You can change them in words."
NOT_STORED = "I could not store this. Please send it again in a minute."
FORM_STORED = "The settings of the channel are changed, from the next answer on."

RESET_DONE = "This channel has no settings of its own any more."
NOT_KNOWN = "Not known at the moment, so it has no effect until the bot has it: {names}."
NO_MODELS = "No language model is configured, so there is none to choose."


def not_policy(value: str) -> str:
    """Return the refusal of a policy that does not exist."""
    return f"There is no policy {inline_code(value)}: choose {_listed(get_args(FollowUp))}, or `default`."


def not_allowed_model(name: str, models: Collection[str]) -> str:
    """Return the refusal of a model that the operator does not allow."""
    return (
        f"The model {inline_code(name)} is not allowed here: choose {_listed(sorted(models))}, or `default`. "
        "The bot's operator can add models in CHANNEL_MODELS."
    )


def not_tools(names: Collection[str]) -> str:
    """Return the refusal of something that cannot be the name of a tool."""
    return f"These are not names of tools: {_listed(names)}. Separate the names by commas."


def too_long(chars: int, most: int) -> str:
    """Return the refusal of long instructions."""
    return f"These instructions have {chars:,} characters: shorten them to {most:,}."


def changed(setting: ChannelSetting, value: Json | None, defaults: ChannelSettings) -> str:
    """Return the answer to a change; a setting that was removed has no value."""
    if value is None:
        return f"{_TITLES[setting]}: {_shown(setting, getattr(defaults, setting))} (default)."
    if setting == "instructions":
        return f"These instructions hold in this channel from the next answer on:\n{code_block(value)}"
    return f"{_TITLES[setting]}: {_shown(setting, value)}."


def describe(changes: Mapping[ChannelSetting, ChannelChange], defaults: ChannelSettings) -> str:
    """Return all settings of a channel, with who changed them."""
    lines = (_line(each, changes.get(each), getattr(defaults, each)) for each in CHANNEL_SETTINGS)
    return "\n".join(["**Settings of this channel**", *lines])


def describe_others(changes: Mapping[ChannelSetting, ChannelChange], defaults: ChannelSettings) -> str:
    """Return the settings that a form does not change, and who set those that it does."""
    in_form: Collection[ChannelSetting] = ("instructions", "follow_up")
    lines = [f"- **{_TITLES[each]}**: {_set_by(change)}" for each in in_form if (change := changes.get(each))]
    others = [each for each in CHANNEL_SETTINGS if each not in in_form]
    lines += [_line(each, changes.get(each), getattr(defaults, each)) for each in others]
    return "\n".join([*lines, OTHERS])


_TITLES: Mapping[ChannelSetting, str] = {
    "instructions": "Instructions",
    "follow_up": "Answered without a mention",
    "model": "Model",
    "tools": "Tools",
}


def _line(setting: ChannelSetting, change: ChannelChange | None, default: Json) -> str:
    if change is None:
        return f"- **{_TITLES[setting]}**: {_shown(setting, default)} (default)"
    by = _set_by(change)
    if setting == "instructions":
        return f"- **{_TITLES[setting]}**, {by}:\n{code_block(change.value)}"
    return f"- **{_TITLES[setting]}**: {_shown(setting, change.value)}, {by}"


def _set_by(change: ChannelChange) -> str:
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(change.at))
    who = inline_code(change.by_name) if change.by_name else f"somebody {_place(change.by)}"
    return f"set by {who} on {day}"


def _place(author: str) -> str:
    return platform_info(author.partition(":")[0]).location


def _shown(setting: ChannelSetting, value: Json) -> str:
    match setting:
        case "follow_up":
            return f"{inline_code(value)}, {POLICIES[value]}"
        case "model":
            return inline_code(value) if value else "none"
        case "tools":
            return "all" if value is None else _listed(value) or "none"
        case "instructions":
            return value or "none"


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(inline_code, names))
