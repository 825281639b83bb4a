"""Scenario: a story that is told to the bot, and what has to come of it. Plain data, validated.

docs/scenarios.md explains the format to those who write one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from bot.chat import FollowUp

MOST_STEPS = 100
_LONGEST_TEXT = 20_000
_MOST_CHECKS = 20

NAME = re.compile(r"[a-z][a-z0-9]{0,20}")
MENTION = re.compile(r"(?<![\w.@])@([a-z][a-z0-9]*)\b")
LINK = re.compile(r"\[\[([a-z][a-z0-9]*)\]\]")
BUTTON = re.compile(r"\[([^\[\]]+)\]")

BOT = "bot"
GENERAL = "general"
"""Channel where a story begins."""

DIRECT = "direct"
"""Place of a message that only its author and the bot read."""

Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=_LONGEST_TEXT)]
Name = Annotated[str, StringConstraints(strict=True, pattern=rf"^{NAME.pattern}$")]


def _several(value: Any) -> Any:
    """Return a single value as a list of one."""
    return value if isinstance(value, list) else [value]


Texts = Annotated[
    tuple[
        Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=1_000)],
        ...,
    ],
    BeforeValidator(_several),
    Field(max_length=_MOST_CHECKS),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StorySettings(_Part):
    """Settings of the bot in a story. Administrators and approvers are people of the story.

    `writes` offers changes of the database, each after an approval. `database: yours` uses DATABASE_URL in
    place of the sample data; `plugins` the tools of MCP_SERVERS and TOOL_PLUGINS.
    """

    administrators: Annotated[tuple[Name, ...], BeforeValidator(_several)] = ()
    approvers: Annotated[tuple[Name, ...], BeforeValidator(_several)] = ()
    follow_up: FollowUp = "partner"
    writes: bool = False
    database: Literal["sample", "yours"] = "sample"
    plugins: bool = False


class Expectation(_Part):
    """Checks of an answer; each text is one check. `judge` are sentences that a model finds true or not."""

    contains: Texts = ()
    not_contains: Texts = ()
    matches: Texts = ()
    calls: Texts = ()
    not_calls: Texts = ()
    file: Texts = ()
    judge: Texts = ()


class File(_Part):
    """Text file that comes with a message."""

    name: Annotated[str, StringConstraints(strict=True, pattern=r"^[\w-]{1,60}\.[a-z0-9]{1,8}$")]
    text: Text


class Says(_Part):
    """Message of a person: `ana: "…"`. A text in brackets presses a button, one with a slash is a command.

    `place` (`in`) is a channel, where the message begins a conversation, or `direct`. `id` names the message;
    `replies_to` and `edits` refer to such a name. With `while_answering` the person waits until the answer to
    an earlier message begins, and not until it ends.
    """

    person: Name
    text: Text
    place: Name | None = Field(None, alias="in")
    id: Name | None = None
    replies_to: Name | None = None
    edits: Name | None = None
    file: File | None = None
    while_answering: bool = False

    @model_validator(mode="before")
    @classmethod
    def _find_person(cls, step: Any) -> Any:
        others = [key for key in step if key not in _BESIDE]
        if len(others) != 1:
            said = " and ".join(map(str, others)) or "nobody"
            raise ValueError(
                f"{said} cannot begin a step. A step has one of a person's name, bot, silence and model; "
                f"beside a person's name there can be {', '.join(sorted(_BESIDE))}"
            )
        name = others[0]
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name: use lower-case letters and digits")
        return {
            **{key: value for key, value in step.items() if key != name},
            "person": name,
            "text": step[name],
        }

    @property
    def button(self) -> str | None:
        """Return the label of the button that is pressed, if one is."""
        found = BUTTON.fullmatch(self.text)
        return found[1] if found else None

    @property
    def is_command(self) -> bool:
        """Return whether this is a slash command."""
        return self.text.startswith("/")


_BESIDE = frozenset({"in", "id", "replies_to", "edits", "file", "while_answering"})

Calls = Mapping[str, Mapping[str, Any]]
"""Arguments by the name of a tool."""


def _text_or_calls(value: Any) -> Any:
    is_call = isinstance(value, dict) and value and all(isinstance(each, dict) for each in value.values())
    if (isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT) or is_call:
        return value
    raise ValueError("the model answers a text, or calls tools: `model: {sql_query: {query: …}}`")


class ModelAnswers(_Part):
    """Answer of the scripted model, for the test of the story: a text, or calls of tools.

    The model must have been `given` these texts, and none of `not_given`. If it `stalls`, the answer never
    ends.
    """

    model: Annotated[str | Calls, PlainValidator(_text_or_calls)]
    given: Texts = ()
    not_given: Texts = ()
    stalls: bool = False


class BotShows(_Part):
    """Answer that users see; `...` in the text stands for any text. A real model may use other words."""

    bot: Text
    expect: Expectation = Expectation()


class Silence(_Part):
    """Nothing is shown, for a reason."""

    silence: Text


def _kind(step: Any) -> str | None:
    if not isinstance(step, Mapping):
        return None
    key = next((key for key in ("model", "bot", "silence") if key in step), "person")
    return f"step of {key}"  # not the key alone, which would be confused with it in the location of an error


Step = Annotated[
    Annotated[Says, Tag("step of person")]
    | Annotated[ModelAnswers, Tag("step of model")]
    | Annotated[BotShows, Tag("step of bot")]
    | Annotated[Silence, Tag("step of silence")],
    Discriminator(
        _kind,
        custom_error_type="step",
        custom_error_message='a step names who acts, with a text: `- ana: "hello"`',
    ),
]


class Scenario(_Part):
    """Story with a title, and the settings of the bot in it."""

    title: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=120, pattern=r"^[^\n]*$")]
    settings: StorySettings = StorySettings()
    story: Annotated[tuple[Step, ...], Field(max_length=MOST_STEPS)]

    @field_validator("story")
    @classmethod
    def _is_consistent(cls, story: tuple[Step, ...]) -> tuple[Step, ...]:
        if not any(isinstance(each, Says) for each in story[:1]):
            raise ValueError("step 1: a story begins with a message of a person")
        if not any(isinstance(each, BotShows | Silence) for each in story):
            raise ValueError("add a step `bot` or `silence`: nothing is expected of the bot")
        known: dict[str, Says] = {}
        for number, step in enumerate(story, 1):
            if isinstance(step, Says):
                _check_references(number, step, known)
        return story

    @model_validator(mode="after")
    def _roles_have_people(self) -> "Scenario":
        for role in ("administrators", "approvers"):
            for name in getattr(self.settings, role):
                if name not in self.people:
                    raise ValueError(f"settings: {role}: {name} does not appear in the story")
        return self

    @property
    def people(self) -> Sequence[str]:
        """Return the people who say something, in the order of their appearance."""
        return list(dict.fromkeys(each.person for each in self.story if isinstance(each, Says)))

    @property
    def places(self) -> Sequence[str]:
        """Return the channels of the story."""
        named = [each.place for each in self.story if isinstance(each, Says) and each.place]
        return list(dict.fromkeys([GENERAL, *(each for each in named if each != DIRECT)]))


def _check_references(number: int, step: Says, known: dict[str, Says]) -> None:
    for name in filter(None, (step.replies_to, step.edits, *LINK.findall(step.text))):
        if name not in known:
            raise ValueError(f"step {number}: no earlier message has `id: {name}`")
    if step.edits and known[step.edits].person != step.person:
        raise ValueError(f"step {number}: only {known[step.edits].person} can edit {step.edits}")
    if step.id:
        if step.id in known:
            raise ValueError(f"step {number}: an earlier message has `id: {step.id}` already")
        known[step.id] = step


def numbered(scenario: Scenario) -> Iterator[tuple[int, Step]]:
    """Yield the steps with their numbers."""
    yield from enumerate(scenario.story, 1)
