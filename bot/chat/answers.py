"""Finished answers: what each one took, without a word of what was said, and the buttons below it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from bot.chat.events import Json, Locale, ThreadId, Turn, answer_id
from bot.chat.parts import NO_BUTTONS, AnswerButtons, Approval, Part, Question, Text, ToolStep
from bot.chat.text import one_line

Vote = Literal["up", "down"]
"""Feedback of one user on one answer."""

_READERS = ("channel_kind", "shared")
"""Keys of `Message.place` that say who reads an answer there: the press of a button does not have them."""

_MOST_TOOLS = 20
"""Most tools that the details of an answer name."""

_LONGEST_NAME = 64
"""Most characters of the name of a tool."""


@dataclass(frozen=True, slots=True)
class ModelUse:
    """Tokens that an answer took of one model, their price in millionths, and the number of calls."""

    input: int = 0
    output: int = 0
    cost: int = 0
    calls: int = 0


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Calls of one tool for an answer, how many of them failed, and the rows that they read or changed."""

    calls: int = 0
    failures: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDetails:
    """Details of one answer.

    `turn` is the turn that put the question; that of an answer in place of another one is the first one's,
    and `replaces` is that other one (of a first answer: itself). `message` is the message that an edit could
    name after the answer, `earlier` are those that were answered with it, and `edited_at` the edit that it
    had had, as in `Message`. `at` (Unix seconds) is the end of the answer, `seconds` the time of the last of
    the `attempts`; what earlier attempts used is not known. `is_external` is as in `Message`, for any of the
    authors. `readers` is the part of the question's `place` that says who reads the answer, and `locale` that
    of its author, in whose language it is answered again.
    """

    reference: str
    thread: ThreadId
    turn: str
    message: str
    replaces: str
    at: float
    seconds: float
    earlier: Sequence[str] = ()
    edited_at: float = 0.0
    attempts: int = 1
    models: Mapping[str, ModelUse] = field(default_factory=dict)
    tools: Mapping[str, ToolUse] = field(default_factory=dict)
    is_external: bool = False
    readers: Mapping[str, str] = field(default_factory=dict)
    locale: Locale | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the details as a JSON object, as short as it can be read."""
        thread = self.thread
        return {
            "reference": self.reference,
            "thread": [thread.platform, thread.space, thread.channel, thread.thread],
            "turn": self.turn,
            **({"message": self.message} if self.message != self.turn else {}),
            **({"replaces": self.replaces} if self.replaces != answer_id(self.turn) else {}),
            **({"earlier": list(self.earlier)} if self.earlier else {}),
            **({"edited_at": self.edited_at} if self.edited_at else {}),
            "at": round(self.at),
            "seconds": round(self.seconds, 2),
            **({"attempts": self.attempts} if self.attempts > 1 else {}),
            "models": {
                name: [each.input, each.output, each.cost, each.calls] for name, each in self.models.items()
            },
            "tools": {name: [each.calls, each.failures, each.rows] for name, each in self.tools.items()},
            **({"external": True} if self.is_external else {}),
            **({"readers": dict(self.readers)} if self.readers else {}),
            **({"locale": list(self.locale)} if self.locale else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> "AnswerDetails":
        """Return the details from the result of `to_json`. Raises `KeyError` or `TypeError`."""
        return cls(
            reference=data["reference"],
            thread=ThreadId(*data["thread"]),
            turn=data["turn"],
            message=data.get("message", data["turn"]),
            replaces=data.get("replaces", answer_id(data["turn"])),
            earlier=tuple(data.get("earlier", ())),
            edited_at=data.get("edited_at", 0.0),
            at=data["at"],
            seconds=data["seconds"],
            attempts=data.get("attempts", 1),
            models={name: ModelUse(*each) for name, each in data["models"].items()},
            tools={name: ToolUse(*each) for name, each in data["tools"].items()},
            is_external=data.get("external", False),
            readers=data.get("readers", {}),
            locale=Locale(*data["locale"]) if "locale" in data else None,
        )


def readers_in(place: Mapping[str, str]) -> Mapping[str, str]:
    """Return the part of a message's `place` that says who reads the answer."""
    return {name: place[name] for name in _READERS if name in place}


@dataclass(frozen=True, slots=True)
class StoredDetails:
    """Details of an answer as they are stored in Redis, which the inbox does in the step that ends a turn.

    `stands` is the answer, or empty if it has failed and takes the place of no other one.
    """

    key: str
    text: str
    ttl_seconds: int
    stands: str = ""


@dataclass(frozen=True, slots=True)
class QuestionState:
    """Latest state of a question that was answered.

    `edited_at` is as in `Message`. `answer` is the answer that stands since the question was edited or
    answered again, empty before that.
    """

    is_deleted: bool
    edited_at: float
    answer: str


@dataclass(slots=True)
class AnswerTally:
    """Sums of the parts of one reply, and the buttons that it has."""

    is_read: bool = False
    has_text: bool = False
    is_waiting: bool = False
    """A request of the answer waits for a user, whose decision continues it."""
    tools: dict[str, ToolUse] = field(default_factory=dict)

    def buttons(self, turn: Turn, state: Mapping[str, Json]) -> AnswerButtons:
        """Return the buttons below the reply as it is now; `state` is that of its receipt.

        Notices have none, nor has an answer that waits for a user. One that failed or was stopped cannot be
        rated; if its turn was given up, nothing is `said`, and it has none.
        """
        if self.is_waiting or not (self.has_text or "said" in state):
            return NO_BUTTONS
        return AnswerButtons(turn.answer, can_be_rated="ending" not in state)

    def add(self, part: Part) -> None:
        """Count a part."""
        match part:
            case Text():
                self.has_text = True
            case ToolStep(state="finished" | "failed"):
                self._count(part)
            case Approval(state="asked") | Question(state="asked"):
                self.is_waiting = True
            case _:
                pass

    def _count(self, step: ToolStep) -> None:
        name = one_line(step.name, _LONGEST_NAME)  # the model may have made it up
        known = self.tools.get(name)
        if known is None and len(self.tools) == _MOST_TOOLS:
            return
        known = known or ToolUse()
        failures = known.failures + (step.state == "failed")
        self.tools[name] = replace(
            known, calls=known.calls + 1, failures=failures, rows=known.rows + (step.rows or 0)
        )


class AnswerRecorder(Protocol):
    """Store of the details of answers; without one, answers have no buttons."""

    def details(
        self, turn: Turn, tools: Mapping[str, ToolUse], seconds: float, *, has_failed: bool
    ) -> StoredDetails:
        """Return the details of an answer that has just ended, for the step that ends its turn."""
