"""Hooks, a part of `Settings`: senders outside whose deliveries are posted into a channel."""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings

from bot.chat import Hook
from bot.config.approvals import one_channel
from bot.config.platform import PlatformSettings

_NAME = re.compile("[a-z0-9][a-z0-9._-]{0,39}")
_FORM = '{"deploys": {"channel": "slack:C012AB", "secret": "…"}}'


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    channel: str
    secret: Annotated[str, StringConstraints(min_length=16, max_length=1_000)]
    instructions: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_000)] = ""
    tools: Literal["open", "all"] = "open"


_ENTRY = TypeAdapter(_Entry)


class HookSettings(BaseSettings):
    """Hooks, by name."""

    hooks: SecretStr | None = Field(
        None,
        description="senders whose deliveries to `/hooks/<name>` are posted into a channel, as JSON "
        "([how](hooks.md))",
    )

    @property
    def each_hook(self) -> Sequence[Hook]:
        """Return the hooks of HOOKS."""
        return _parse(self.hooks)[0]

    @property
    def hook_secrets(self) -> list[str]:
        """Return the values that logs must hide."""
        return [each.secret for each in self.each_hook]

    def hook_problems(self, platforms: Sequence[PlatformSettings], allowed: frozenset[str]) -> list[str]:
        """Return the faults of HOOKS; `allowed` are the channels where the bot answers, if only some."""
        hooks, problems = _parse(self.hooks)
        for each in hooks:
            if problem := _channel_problem(each, platforms, allowed):
                problems.append(f"{each.name}: channel: {problem}")
        return [f"HOOKS: {each}" for each in problems]


def _parse(setting: SecretStr | None) -> tuple[list[Hook], list[str]]:
    """Return the valid hooks of the setting, and a sentence for each problem, without values."""
    try:
        entries = json.loads(setting.get_secret_value(), object_pairs_hook=_unique) if setting else {}
    except (RecursionError, ValueError) as error:
        reason = str(error) if isinstance(error, _Twice) else f"write a JSON object as {_FORM}"
        return [], [reason]
    if not isinstance(entries, dict):
        return [], [f"write a JSON object as {_FORM}"]
    hooks: list[Hook] = []
    problems: list[str] = []
    for name, entry in entries.items():
        if not _NAME.fullmatch(name):
            problems.append(f"{name!r}: name it with at most 40 of a-z, 0-9, '.', '_' and '-'")
            continue
        try:
            found = _ENTRY.validate_python(entry)
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False, include_context=False)
            problems += [": ".join([name, *map(str, each["loc"]), _sentence(each["msg"])]) for each in faults]
            continue
        hooks.append(
            Hook(
                name=name,
                channel=found.channel,
                secret=found.secret,
                instructions=found.instructions,
                has_all_tools=found.tools == "all",
            )
        )
    return hooks, problems


class _Twice(ValueError):
    """Name that a JSON object has twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if sum(name == each for each, _ in pairs) > 1)
        raise _Twice(f"{twice[:40]!r} is there twice")
    return found


def _sentence(words: str) -> str:
    return words[:1].lower() + words[1:]


def _channel_problem(hook: Hook, platforms: Sequence[PlatformSettings], allowed: frozenset[str]) -> str:
    """Return the reason why a hook cannot post into its channel, if the settings tell one."""
    if not hook.channel:
        return "must not be empty"
    try:
        one_channel(hook.channel, [each.info for each in platforms if not each.is_always_on])
    except ValueError as error:
        return str(error)
    own = next(each for each in platforms if each.info.name == hook.channel.partition(":")[0])
    if not own.is_configured:
        return f"{own.info.title} is switched off; {own.advice}"
    if problem := own.id_problem({hook.channel}):
        return problem
    if allowed and hook.channel not in allowed:
        return "the bot does not answer there; add it to ALLOWED_CHANNELS"
    return ""
