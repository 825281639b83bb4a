"""Bodies of responses, for the OpenAPI document; tests compare them with what the routes return."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from bot.chat import Json


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Failure(BaseModel):
    """Error with a sentence for the caller; `final` if a repeated request gets it again."""

    status: Literal["error"]
    message: str
    final: bool = False


class StoredFile(_Body):
    """File of an answer; `size` is in bytes, `alt` describes what it shows."""

    id: str
    name: str
    media_type: str
    size: int
    alt: str
    url: str
    is_chart: bool = False


class ShownColumn(_Body):
    """Column of a table."""

    name: str
    type: Literal["number", "text"]


class ShownTable(_Body):
    """Table of an answer; `file` has all rows as CSV, and `text` the first ones as Markdown."""

    id: str
    title: str
    columns: list[ShownColumn]
    rows: list[list[int | float | str | None]]
    total: int
    total_columns: int
    has_more: bool
    caption: str
    file: StoredFile
    text: str


class ChatAnswer(_Body):
    """Complete answer, as Markdown."""

    status: Literal["success"]
    response: str
    thread_id: str
    files: list[StoredFile] = []
    tables: list[ShownTable] = []


class Accepted(_Body):
    """Delivery that is stored; a repeated one has the same id."""

    status: Literal["accepted"]
    id: str


class ListedThread(_Body):
    """Conversation in a list; `updated_at` is the time of its last question (Unix seconds)."""

    id: str
    title: str
    updated_at: float
    is_running: bool


class ThreadList(_Body):
    """Conversations; for older ones ask with the last `updated_at` as `before`."""

    status: Literal["success"]
    threads: list[ListedThread]
    has_more: bool


class ThreadQuestion(_Body):
    """Question in a conversation."""

    role: Literal["user"]
    id: str
    at: float
    text: str
    files: list[dict[str, Any]]


class ThreadAnswer(_Body):
    """Answer in a conversation: `response` is Markdown, `parts` are the data of the events of `/chat`."""

    role: Literal["agent"]
    at: float
    state: Literal["running", "complete", "failed", "stopped", "waiting"]
    answer: str
    can_be_rated: bool
    error: str
    response: str
    parts: list[dict[str, Any]]


class ThreadTranscript(_Body):
    """Whole conversation."""

    status: Literal["success"]
    id: str
    title: str
    updated_at: float
    is_running: bool
    has_earlier: bool
    messages: list[ThreadQuestion | ThreadAnswer]


class Words(_Body):
    """Result in words, as Markdown."""

    status: Literal["success"]
    response: str


class Done(_Body):
    """Confirmation."""

    status: Literal["success"]
    message: str


class Alive(_Body):
    """State of a probe."""

    status: Literal["alive", "ready"]


class HealthReport(_Body):
    """State of each part; evidence only for administrators."""

    status: Literal["healthy", "degraded", "unhealthy"]
    agent_status: dict[str, dict[str, Any]]
    error: str = ""


class SuggestedFile(_Body):
    """Text file to send with a suggestion."""

    name: str
    text: str


class Suggestion(_Body):
    """Sentence to ask; `shows` names what its answer demonstrates."""

    text: str
    shows: str
    file: SuggestedFile | None = None


class ServiceConnection(_Body):
    """Service that can be connected; `advice` names the variables, without values."""

    name: str
    title: str
    is_connected: bool
    advice: str


class Welcome(_Body):
    """Begin of a conversation on the page; a demonstration has no language model."""

    status: Literal["success"] = "success"
    name: str = "Threadmate"
    is_demonstration: bool = False
    suggestions: list[Suggestion] = []
    connections: list[ServiceConnection] = []


class RedisAnswer(BaseModel):
    """Result of an operation on keys and values."""

    status: Literal["success"]
    operation: str
    result: Json


class PersonalData(BaseModel):
    """Everything that is stored about the caller."""


class KnownFact(_Body):
    """Fact about the caller; `about` is its date and scope."""

    id: str
    text: str
    about: str


class KnownFacts(_Body):
    """Facts from the `first` on, of `total`; the memory stores no more unless it `is_on`."""

    status: Literal["success"]
    facts: list[KnownFact]
    first: int
    total: int
    is_on: bool


class Model(_Body):
    """Agent as a model of OpenAI's API."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(_Body):
    """Models of OpenAI's API."""

    object: Literal["list"]
    data: list[Model]


class CompletionChoice(_Body):
    """Only choice of a completion."""

    index: Literal[0]
    message: dict[str, Any]
    finish_reason: Literal["stop"]
    logprobs: None


class Completion(_Body):
    """Complete answer in the form of OpenAI's API."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[CompletionChoice]


class CompletionErrorDetails(_Body):
    """Error of OpenAI's API."""

    message: str
    type: str
    param: None
    code: str | None


class CompletionError(_Body):
    """Error in the form of OpenAI's API."""

    error: CompletionErrorDetails
