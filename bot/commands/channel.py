"""`/agent-channel`: settings of one channel, for administrators, with an audit log line for each change."""

import logging
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from bot.chat import (
    CHANNEL_SETTINGS,
    ChannelChange,
    ChannelSetting,
    ChannelSettings,
    FollowUp,
    Json,
    Refuse,
    well_formed,
)
from bot.commands import channel_texts as texts
from bot.commands.redis.texts import NOT_ADMIN, NOT_FOR_EXTERNAL

log = logging.getLogger(__name__)

AUDIT = "channel settings command"
"""Event of the audit log line."""

MOST_INSTRUCTIONS = 3_000
"""Most characters of a channel's instructions: Slack and Discord take little more in a command."""

MOST_TOOLS = 100

MOST_SUGGESTED = 25
"""Most values that are suggested: Discord takes no more."""

Verb = Literal["show", "instructions", "follow-up", "model", "tools", "reset"]
VERBS: Collection[Verb] = get_args(Verb)

_SETTINGS: Mapping[Verb, ChannelSetting] = {
    "instructions": "instructions",
    "follow-up": "follow_up",
    "model": "model",
    "tools": "tools",
}
_DEFAULT, _NONE = "default", "none"
_TOOL = re.compile(r"[A-Za-z0-9_-]{1,64}")


FormField = Literal["instructions", "follow-up", "reset"]
"""Inputs of the form, by their verbs; `default` stands for a value that is not set."""


class ChannelStore(Protocol):
    """Store of the settings of channels; its methods raise `StorageDown`."""

    @property
    def defaults(self) -> ChannelSettings:
        """Return the settings of a channel without its own."""

    @property
    def models(self) -> Collection[str]:
        """Return the models that a channel can have."""

    async def changes(self, channel: str) -> Mapping[ChannelSetting, ChannelChange]:
        """Return what a channel has set."""

    async def change(self, channel: str, changes: Mapping[ChannelSetting, ChannelChange | None]) -> None:
        """Set settings of a channel, or remove those that are None, in one step."""


class Tool(Protocol):
    """Tool of the agent."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCaller:
    """User of the command, and the channel where it was used: `slack:U…`, `slack:C…`, as in the settings."""

    author: str
    name: str
    channel: str
    is_external: bool = False


@dataclass(frozen=True, slots=True)
class ChannelForm:
    """Settings of a channel as a form shows them: two to change, and all others in Markdown.

    `instructions` and `follow_up` are empty if the channel has none of its own.
    """

    instructions: str
    follow_up: str
    default_follow_up: FollowUp
    others: str


@dataclass(frozen=True, slots=True)
class ChannelCommand:
    """Subcommands of `/agent-channel`. `tools` are those that are known at the moment."""

    store: ChannelStore
    is_admin: Callable[[str], bool]
    tools: Sequence[Tool] = ()

    async def answer_text(self, text: str, caller: ChannelCaller) -> str:
        """Run a subcommand that was typed on one line, see `run`."""
        word, *rest = text.split(maxsplit=1) or [""]
        verb = next((each for each in VERBS if each == word.lower()), None)
        if verb is None:
            return self._refusal("", caller) or texts.USAGE
        return await self.run(verb, "".join(rest), caller)

    async def run(self, verb: Verb, argument: str, caller: ChannelCaller) -> str:
        """Run a subcommand and return its answer in Markdown. Raises `StorageDown`."""
        if refusal := self._refusal(verb, caller):
            return refusal
        if verb == "show":
            changes = await self.store.changes(caller.channel)
            return texts.describe(changes, self.store.defaults)
        if verb == "reset":
            await self.store.change(caller.channel, dict.fromkeys(CHANNEL_SETTINGS))
            _audit(verb, caller, "done")
            return texts.RESET_DONE
        return await self._set(verb, argument.strip(), caller)

    async def read_form(self, caller: ChannelCaller) -> ChannelForm | Refuse:
        """Return the settings of a channel for a form. Raises `StorageDown`."""
        if refusal := self._refusal("show", caller):
            return Refuse(refusal)
        changes = await self.store.changes(caller.channel)
        instructions, policy = (changes.get(each) for each in ("instructions", "follow_up"))
        return ChannelForm(
            instructions.value if instructions else "",
            policy.value if policy else "",
            self.store.defaults.follow_up,
            texts.describe_others(changes, self.store.defaults),
        )

    async def submit(self, typed: Mapping[FormField, str], caller: ChannelCaller) -> Mapping[FormField, str]:
        """Set what was changed in a form, in one step; `reset` removes all settings. Raises `StorageDown`.

        Returns a sentence for each input that cannot be stored; then nothing is.
        """
        if refusal := self._refusal("form", caller):
            return dict.fromkeys(typed, refusal)
        if "reset" in typed:
            await self.store.change(caller.channel, dict.fromkeys(CHANNEL_SETTINGS))
            _audit("reset", caller, "done")
            return {}
        errors: dict[FormField, str] = {}
        changes: dict[ChannelSetting, ChannelChange | None] = {}
        for verb, text in typed.items():
            value = self._typed_value(verb, text)
            if isinstance(value, _Invalid):
                errors[verb] = value.sentence
            else:
                changes[_SETTINGS[verb]] = _change(value, caller)
        if changes and not errors:
            await self.store.change(caller.channel, changes)
        for verb, text in typed.items():
            _audit(verb, caller, "invalid" if errors else "done", _logged(verb, text))
        return errors

    def suggest(self, verb: Literal["model", "tools"], typed: str, caller: ChannelCaller) -> Sequence[str]:
        """Return values that complete what an administrator has typed; nothing to others, who get no answer.

        Of several tools, separated by commas, the last one is completed.
        """
        if not self.is_admin(caller.author) or caller.is_external:
            return []
        before, comma, word = typed.rpartition(",") if verb == "tools" else ("", "", typed)
        known = self.store.models if verb == "model" else [each.name for each in self.tools]
        alone = [_DEFAULT, *([_NONE] if verb == "tools" else [])] if not comma else []
        found = [each for each in [*sorted(known), *alone] if word.strip().lower() in each.lower()]
        lead = f"{before.strip()}, " if comma else ""
        return [f"{lead}{each}" for each in found[:MOST_SUGGESTED]]

    async def _set(self, verb: Verb, text: str, caller: ChannelCaller) -> str:
        setting, value = _SETTINGS[verb], self._typed_value(verb, text)
        if isinstance(value, _Invalid):
            _audit(verb, caller, "invalid")
            return value.sentence
        await self.store.change(caller.channel, {setting: _change(value, caller)})
        _audit(verb, caller, "done", {"value": value} if verb != "instructions" else _logged(verb, text))
        return self._with_note(texts.changed(setting, value, self.store.defaults), setting, value)

    def _typed_value(self, verb: Verb, text: str) -> "str | list[str] | _Invalid | None":
        """Return the value for a setting, None for the default."""
        if text.lower() == _DEFAULT:
            return None
        return self._value(_SETTINGS[verb], well_formed(text))

    def _value(self, setting: ChannelSetting, text: str) -> "str | list[str] | _Invalid":
        if not text:
            return _Invalid(texts.USAGE)
        match setting:
            case "instructions":
                if len(text) > MOST_INSTRUCTIONS:
                    return _Invalid(texts.too_long(len(text), MOST_INSTRUCTIONS))
                return text
            case "follow_up":
                is_policy = text.lower() in get_args(FollowUp)
                return text.lower() if is_policy else _Invalid(texts.not_policy(text))
            case "model":
                if not self.store.models:
                    return _Invalid(texts.NO_MODELS)
                is_allowed = text in self.store.models
                return text if is_allowed else _Invalid(texts.not_allowed_model(text, self.store.models))
            case "tools":
                return _tools(text)

    def _with_note(self, answer: str, setting: ChannelSetting, value: Json) -> str:
        """Add which tools this process does not know: a plug-in may be away, or only in other processes."""
        known = {each.name for each in self.tools}
        missing = sorted(set(value) - known) if setting == "tools" and value else []
        names = ", ".join(f"`{each}`" for each in missing)
        return f"{answer}\n{texts.NOT_KNOWN.format(names=names)}" if missing else answer

    def _refusal(self, verb: str, caller: ChannelCaller) -> str | None:
        """Return a sentence for a caller who is not an administrator, else None."""
        if self.is_admin(caller.author) and not caller.is_external:
            return None
        _audit(verb, caller, "refused")
        return (NOT_FOR_EXTERNAL if caller.is_external else NOT_ADMIN).format(user=caller.author)


@dataclass(frozen=True, slots=True)
class _Invalid:
    """Value that cannot be set, and the sentence that says why."""

    sentence: str


def _change(value: str | list[str] | None, caller: ChannelCaller) -> ChannelChange | None:
    if value is None:
        return None
    return ChannelChange(value=value, by=caller.author, by_name=caller.name, at=time.time())


def _tools(text: str) -> "list[str] | _Invalid":
    names = [] if text.lower() == _NONE else list(dict.fromkeys(re.split(r"[,\s]+", text.strip(", "))))
    wrong = [each for each in names if not _TOOL.fullmatch(each)]
    return _Invalid(texts.not_tools(wrong[:5] or names[:5])) if wrong or len(names) > MOST_TOOLS else names


def _logged(verb: Verb, text: str) -> Mapping[str, Json]:
    return {"chars": len(text)} if verb == "instructions" else {"value": text}


def _audit(
    verb: str,
    caller: ChannelCaller,
    outcome: Literal["done", "invalid", "refused"],
    more: Mapping[str, Json] | None = None,
) -> None:
    about = {"by": caller.author, "channel": caller.channel, "setting": verb, "outcome": outcome}
    log.info(AUDIT, extra={**about, **(more or {})})
