"""Parts of an answer. Plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from bot.chat.events import Decision, Json


@dataclass(frozen=True, slots=True)
class Text:
    """The next piece of the answer, in Markdown; pieces are joined without a separator."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStep:
    """A tool call at work. The same `id` comes again when its state changes.

    `title` says in a few words what is done, `output` (once finished or failed) what came of it in at
    most a line or two. All of it may hold text from the model or from data: treat it as untrusted.
    """

    id: str
    name: str
    state: Literal["started", "finished", "failed"]
    title: str
    output: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence of the bot itself, not of the model: an error, a time limit, a refusal. Markdown.

    `status` is set when the answer has failed and this says why: the HTTP status that fits. It does not
    change what a person reads.
    """

    text: str
    status: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Something the bot may only do once a person allows it, and later what came of that.

    `id` is what a person types after `approve`. `title` says in a few words what it is, `action` exactly what
    would be done (`language` is for the code block that shows it), `effect` what that would change. Who may
    decide is in `approvers` (authors, as in `Message`); nobody may after `expires_at` (Unix seconds). With
    the state `asked` it is to be shown with its buttons; with another the one that the turn `asked_in` has
    shown loses them and says who decided (`by`, and the `reason`). `askers` have asked for it; `names` are
    what some of these authors are called. `action`, `title` and the names hold text of others: treat them as
    untrusted.
    """

    id: str
    title: str
    action: str
    effect: str
    expires_at: float
    approvers: tuple[str, ...]
    asked_in: str
    language: str = ""
    state: Literal["asked", "approved", "rejected", "expired"] = "asked"
    by: str = ""
    reason: str = ""
    askers: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> "Approval":
        """Read back what `asdict` gave; fields that another version added are left out."""
        fields = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
        for name in ("approvers", "askers"):
            fields[name] = tuple(fields.get(name, ()))
        return cls(**fields)


def decided(approval: Approval, decision: Decision) -> Approval:
    """Return the request as it is shown after a decision."""
    names = {**approval.names, **({decision.by: decision.by_name} if decision.by_name else {})}
    return replace(approval, state=decision.verdict, by=decision.by, reason=decision.reason, names=names)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that belongs to the answer; its content is kept apart, see `bot.chat.Files`.

    `id` is random; the same file kept again (name, type and content) has the same id for a day. `name` has an
    ending that fits and no characters with a meaning in paths. `size` is in bytes. `alt` says in words what
    it shows, for who cannot see it; it may hold text from the model: treat it as untrusted.
    """

    id: str
    name: str
    media_type: str
    size: int
    alt: str = ""


Part = Text | ToolStep | Approval | Notice | File
"""The next piece of an answer."""
