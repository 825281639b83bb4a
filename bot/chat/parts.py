"""Parts of an answer. Plain data."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Literal

from bot.chat.events import Decision, Json
from bot.chat.text import count, duration, one_line


@dataclass(frozen=True, slots=True)
class Text:
    """Next piece of the answer, in Markdown; pieces are joined without a separator."""

    text: str


_MOST_OUTCOME = 120
"""Most characters of a step's result or error in one line; its duration follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStep:
    """Tool call and its state; a part with the same `id` follows when the state changes.

    `title` describes the call in a few words, with its most important argument, and `activity` what is being
    done while it runs ("Running a query"). Once it has ended, `output` is its result or error in one or two
    lines, `seconds` the time that it took, and `rows` the rows that it read, wrote or changed; each is left
    out if it is not known. The texts may be from the model or from data: treat them as untrusted.
    """

    id: str
    name: str
    state: Literal["started", "finished", "failed"]
    title: str
    output: str = ""
    activity: str = ""
    rows: int | None = None
    seconds: float | None = None

    @property
    def outcome(self) -> str:
        """Return how the call has ended, in one line: `120 rows, 0.4 s`."""
        rows = "" if self.rows is None else count(self.rows, "row")
        result = one_line(self.output, _MOST_OUTCOME).rstrip(".") or rows
        took = "" if self.seconds is None else duration(self.seconds)
        return ", ".join(filter(None, (result, took)))

    @property
    def ongoing(self) -> str:
        """Return what is being done while the call runs, without a full stop: `Running a query`."""
        return (self.activity or self.title or self.name).rstrip(".… ")


@dataclass(frozen=True, slots=True)
class Notice:
    """Sentence of the bot itself, not of the model: an error, a time limit, a refusal. Markdown.

    `status` is the matching HTTP status if this is the reason for a failed answer. Users do not see it.
    """

    text: str
    status: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Approval request, or its decision.

    `id` is typed after `approve`. `title` is a short description, `action` is exactly what would be done
    (`language` is that of its code block), `effect` is what it would change. `approvers` (authors, as in
    `Message`) can decide until `expires_at` (Unix seconds). In the state `asked` the request is shown with
    buttons; in other states the request that the turn `asked_in` has shown gets the decision (`by`, `reason`)
    instead of the buttons. `askers` are the requesters; `names` are display names of some of these authors.
    `action`, `title` and the names contain text of others: treat them as untrusted.
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
        """Return the request from the result of `asdict`, without fields that another version added."""
        fields = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
        for name in ("approvers", "askers"):
            fields[name] = tuple(fields.get(name, ()))
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Question of the agent to the users it works for, or its answer.

    `text` is Markdown; `options` are the answers to choose from, if there are any. One of the `respondents`
    (authors, as in `Message`), or with `anyone` everybody in the thread, can answer from `asked_at` until
    `expires_at` (Unix seconds), by a button or in words. In the state `asked` the question is shown with its
    options; in other states the message that the turn `asked_in` has shown gets the `answer` of `by` instead
    of the buttons. If the question was `withdrawn`, `answer` is the reason, empty for a stop by `by`. `names`
    are display names of some of these authors. All texts come from the model or from users: treat them as
    untrusted.
    """

    id: str
    text: str
    options: tuple[str, ...]
    respondents: tuple[str, ...]
    asked_at: float
    expires_at: float
    asked_in: str
    anyone: bool = False
    state: Literal["asked", "answered", "withdrawn", "expired"] = "asked"
    by: str = ""
    answer: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> "Question":
        """Return the question from the result of `asdict`, without fields that another version added."""
        fields = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
        return cls(**fields | {name: tuple(fields[name]) for name in ("options", "respondents")})


Request = Approval | Question
"""Part that waits for a decision of a user, and is shown with buttons meanwhile."""


def with_decision(request: Request, decision: Decision) -> Request:
    """Return a request with its decision."""
    names = {**request.names, **({decision.by: decision.by_name} if decision.by_name else {})}
    match request, decision.verdict:
        case Approval(), "approved" | "rejected" | "expired" as state:
            return replace(request, state=state, by=decision.by, reason=decision.reason, names=names)
        case Question(), "answered" | "withdrawn" | "expired" as state:
            return replace(request, state=state, by=decision.by, answer=decision.reason, names=names)
        case _:
            raise ValueError(f"{decision.verdict} is not a decision of this request")


@dataclass(frozen=True, slots=True)
class ChartSeries:
    """One line, or the bars or slices of one colour: a value for each label of the chart."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Values of a chart, for platforms that can draw it themselves; a pie has one series.

    All texts come from the model or from data: treat them as untrusted.
    """

    kind: Literal["line", "bar", "area", "pie"]
    title: str
    labels: tuple[str, ...]
    series: tuple[ChartSeries, ...]
    x_label: str = ""
    y_label: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> "Chart":
        """Return the chart from the result of `asdict`. Raises `KeyError`, `TypeError` or `ValueError`."""
        series = tuple(
            ChartSeries(str(each["name"]), tuple(map(float, each["values"]))) for each in data["series"]
        )
        return cls(
            kind=data["kind"],
            title=str(data["title"]),
            labels=tuple(map(str, data["labels"])),
            series=series,
            x_label=str(data.get("x_label", "")),
            y_label=str(data.get("y_label", "")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """File of the answer; its content is stored separately, see `bot.chat.Files`.

    `id` is random, but the same for a day if the same file (name, type and content) is stored again. `name`
    has the right extension and no characters with a meaning in paths. `size` is in bytes. `alt` describes the
    file for users who cannot see it; it may contain text from the model: treat it as untrusted. The picture
    of a chart can come with the `chart`.
    """

    id: str
    name: str
    media_type: str
    size: int
    alt: str = ""
    chart: Chart | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Json]:
        """Return the fields without the chart, as `File(**…)` takes them; earlier versions know no chart."""
        fields = asdict(self)
        del fields["chart"]
        return fields


@dataclass(frozen=True, slots=True)
class TableColumn:
    """Column of a table."""

    name: str
    is_number: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of a result for the users.

    Values are on one line, as the database writes them; None is NULL. There may be fewer rows and columns
    than in the result, which has `total` rows (`has_more`: at least) and `total_columns`; `is_shortened` if a
    value was cut. `file` has all of the `total` rows with whole values, as CSV. All texts come from the model
    or from data: treat them as untrusted.
    """

    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[str | None, ...], ...]
    total: int
    total_columns: int
    file: File
    has_more: bool = False
    is_shortened: bool = False

    @property
    def id(self) -> str:
        """Return the id of the file: the same rows have the same, for a day."""
        return self.file.id

    @property
    def is_whole(self) -> bool:
        """Return whether the file has nothing that the rows do not have."""
        is_all = len(self.rows) == self.total and len(self.columns) == self.total_columns
        return is_all and not (self.has_more or self.is_shortened)

    def to_json(self) -> dict[str, Json]:
        """Return the table as JSON; `from_json` reverses it."""
        return asdict(self) | {"file": self.file.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> "Table":
        """Return the table from the result of `to_json`. Raises `KeyError`, `TypeError` or `ValueError`."""
        columns = tuple(TableColumn(str(each["name"]), bool(each["is_number"])) for each in data["columns"])
        rows = tuple(tuple(None if each is None else str(each) for each in row) for row in data["rows"])
        if not columns or any(len(row) != len(columns) for row in rows):
            raise ValueError("a table has columns, and a value of each in each row")
        return cls(
            title=str(data["title"]),
            columns=columns,
            rows=rows,
            total=int(data["total"]),
            total_columns=int(data["total_columns"]),
            file=File(**data["file"]),
            has_more=bool(data.get("has_more")),
            is_shortened=bool(data.get("is_shortened")),
        )


Artifact = Table | File
"""Part that a tool has made for the users."""


@dataclass(frozen=True, slots=True)
class AnswerButtons:
    """Buttons below the last message of an answer: details, another answer and, if it `can_be_rated`, thumbs.

    They come before the first text, so that a platform can send them with it, and again whenever they change:
    the last ones count. `answer` is the id of the answer, `Turn.answer`; without it there are no buttons.
    """

    answer: str = ""
    can_be_rated: bool = True


NO_BUTTONS = AnswerButtons()


@dataclass(frozen=True, slots=True)
class OpenRequests:
    """Sign at the end of an answer that earlier requests of the thread still wait for decisions."""


Part = Text | ToolStep | Request | Notice | Artifact | AnswerButtons | OpenRequests
"""Part of an answer."""

_KINDS: dict[str, type[Part]] = {
    kind.__name__: kind for kind in (Text, ToolStep, Approval, Question, Notice, File)
}


_NEW_FIELDS = ("activity", "rows", "seconds")
"""Fields of a step that earlier versions cannot read among its others."""


def pack_parts(parts: Iterable[Part]) -> dict[str, Json]:
    """Return parts as a receipt stores them; `unpack_parts` reverses it, with consecutive texts joined.

    A table is among them as its file, and a chart as its picture, which earlier versions know.
    """
    said, figures, tables, charts = list[Json](), dict[str, Json](), dict[str, Json](), dict[str, Json]()
    for is_text, group in groupby(parts, lambda part: isinstance(part, Text)):
        members = list(group)
        if is_text:
            members = [Text("".join(part.text for part in members if isinstance(part, Text)))]
        for number, part in enumerate(members, len(said)):
            if isinstance(part, Table):
                tables[str(number)] = part.to_json()
                part = part.file
            if isinstance(part, File) and part.chart:
                charts[str(number)] = asdict(part.chart)
            fields = part.to_json() if isinstance(part, File) else asdict(part)
            if isinstance(part, ToolStep):
                figures[str(number)] = {name: fields.pop(name) for name in _NEW_FIELDS}
            said.append([type(part).__name__, fields])
    more = {"figures": figures, "said_tables": tables, "said_charts": charts}
    return {"said": said, **{name: value for name, value in more.items() if value}}


def unpack_parts(stored: Mapping[str, Json]) -> list[Part]:
    """Return the parts in what `pack_parts` has returned."""
    figures, tables = stored.get("figures") or {}, stored.get("said_tables") or {}
    charts = {number: Chart.from_json(each) for number, each in (stored.get("said_charts") or {}).items()}
    parts = [
        Table.from_json(tables[str(number)])
        if str(number) in tables
        else _unpacked(kind, {**fields, **figures.get(str(number), {})})
        for number, (kind, fields) in enumerate(stored.get("said", ()))
    ]
    return [
        replace(part, chart=charts.get(str(number))) if isinstance(part, File) else part
        for number, part in enumerate(parts)
    ]


def _unpacked(kind: str, fields: Mapping[str, Json]) -> Part:
    if kind == Approval.__name__:
        return Approval.from_json(fields)
    return Question.from_json(fields) if kind == Question.__name__ else _KINDS[kind](**fields)


def unended(parts: Iterable[Part]) -> list[ToolStep]:
    """Return the steps that have started and not ended."""
    running: dict[str, ToolStep] = {}
    for part in parts:
        if isinstance(part, ToolStep):
            running.pop(part.id, None)
            if part.state == "started":
                running[part.id] = part
    return list(running.values())
