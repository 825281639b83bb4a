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
