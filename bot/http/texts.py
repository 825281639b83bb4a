"""Sentences for HTTP callers: why a request is refused, and why an answer is missing."""

from collections.abc import Iterable

# connection and authentication

MALFORMED = "This is not a valid HTTP request."
OTHER_VERSION = "Use HTTP/1.0 or HTTP/1.1."
UNENCODED_PATH = "The path contains characters that must be percent-encoded."
HOSTS_DIFFER = "The address of the request and its Host header name different hosts."
NO_TOKEN = "Send the header “Authorization: Bearer <API_TOKEN>”."  # noqa: S105 - a sentence
NO_USER = "The proxy did not name its user in the header of TRUSTED_USER_HEADER."
FOREIGN_HOST = (
    "Without API_TOKEN this bot answers only requests to localhost, and this Host header names another host."
)
FOREIGN_ORIGIN = "This request comes from a page of another website (Origin), which must not use this bot."
TOO_MANY_REQUESTS = "The bot is answering too many requests. Please try again in a moment."
TOO_MANY_LARGE = "Too many large requests arrive at once. Please try again in a moment."


def through_proxy(header: str) -> str:
    """Return the refusal of a request with a header that proxies add, without a token."""
    return f"This request came through a proxy ({header}). Set API_TOKEN to allow that."


def only_available(paths: Iterable[str]) -> str:
    """Return the refusal of all other paths, for a bot without a token that is reached from outside."""
    return f"Without API_TOKEN only {', '.join(paths)} and the probes are available."


# routes and bodies

BODY_TOO_LARGE = "The body is too large."
BODY_INCOMPLETE = "The body is incomplete, or not encoded as its headers say."
TOO_MANY_VALUES = "The body has too many values: only the content of files may make it this large."
NOT_JSON = "Send JSON, with the header “Content-Type: application/json”."
COMPRESSED = "Send the body uncompressed, without the header Content-Encoding."
NO_MESSAGE = "message: Field required, unless there are files"
EMPTY_MESSAGE = "message: String should have at least 1 character, unless there are files"
LONG_KEY = "The Idempotency-Key header is longer than 255 characters."
UNPRINTABLE_KEY = "The Idempotency-Key header contains characters that are not printable UTF-8."
UNKNOWN_OPERATION = "Invalid operation"
NOT_CONFIRMED = "Add ?confirm=everything to delete everything that is stored about you."
FILE_EXPIRED = "it has expired; please send it again"
"""Reason that completes “I could not read NAME: ”."""

LAST_NOT_USER = "messages: the last one must have the role “user”."
NO_DATA_URL = "Files and pictures must come as data: URLs in base64; others are not fetched."
OWN_TOOLS = "The agent has its own tools, and takes none of a client."
EARLIER = "Earlier messages of this conversation, as the caller gives them:"
QUESTION = "The message to answer:"


def file_line(name: str, about: str, path: str) -> str:
    """Return the line for a file of an answer, where only text is shown."""
    said = f" ({about})" if about else ""
    return f"File {name}{said}: load it from `{path}` of this server, with your token."


NOT_SIGNED = "There is no such hook, or the signature of this delivery is missing, wrong or too old."
EMPTY_DELIVERY = "The delivery is empty."
PERHAPS_NOT_DELIVERED = "The delivery may not have been stored. Repeat it: it is posted once."


def long_id(header: str, most_chars: int) -> str:
    """Return the refusal of a delivery's id."""
    return f"The header {header} is longer than {most_chars} characters."


def other_model(name: str) -> str:
    """Return the refusal of a model that does not exist."""
    return f"This model does not exist. The agent is the model “{name}”."


def long_conversation(most_chars: int) -> str:
    """Return the refusal of a conversation that is too long."""
    return (
        f"The messages have more than {most_chars:,} characters. Name a thread in X-Thread-Id or user, and "
        "the bot remembers the conversation itself."
    )


def no_route(path: str) -> str:
    """Return the refusal of an unknown path."""
    return f"There is nothing at {path}."


def no_method(path: str, allowed: str, method: str) -> str:
    """Return the refusal of a method that a path does not have."""
    return f"{path} accepts {allowed}, not {method}."


def long_type(most_chars: int) -> str:
    """Return the refusal of a body's type."""
    return f"The header Content-Type is longer than {most_chars} characters."


def larger_than(most_bytes: int) -> str:
    """Return the refusal of a body with its limit."""
    return f"{BODY_TOO_LARGE} The limit is {most_bytes:,} bytes."


def not_received(seconds: float) -> str:
    """Return the refusal of a body that comes too slowly."""
    return f"The body did not arrive within {seconds:.0f} seconds."


def faults(found: Iterable[str], more: int) -> str:
    """Return the faults of a body, of which `more` are left out."""
    return "; ".join([*found, *([f"and {more:,} more"] if more else [])])


def not_base64(file: str) -> str:
    """Return the refusal of a file that cannot be decoded."""
    return f"files: the content of {file} is not base64."


def not_kept(reason: str) -> str:
    """Return the refusal of a file that cannot be stored."""
    return f"files: {reason}."


def not_ready(down: Iterable[str], *, is_receiving: bool) -> str:
    """Return the answer of `/readyz` while these parts are down, or no messages are taken."""
    reasons = [f"{part} is down" for part in down]
    return f"Not ready: {', '.join([*([] if is_receiving else ['no messages are accepted']), *reasons])}."


def parts_down(names: Iterable[str]) -> str:
    """Return the error of `/health`."""
    named = list(names)
    return f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} down"


# conversations

NO_THREAD = "There is no such conversation, or not any more."
NOTHING_RUNS = "Nothing is being answered in this conversation."
NOT_EDITED = "Only the last question of a conversation can be edited, once it is answered."
NOT_ANSWERED = "This message was not answered. Please send it again."
RENAMED = "Renamed."
DELETED = "Deleted. It can be restored for five minutes; then everything in it is forgotten."
RESTORED = "Restored."


def long_search(most_chars: int) -> str:
    """Return the refusal of a search with too many words."""
    return f"q: search for at most {most_chars} characters."


def not_a_number(name: str) -> str:
    """Return the refusal of a parameter that has to be a number."""
    return f"{name}: use a number."


# answers

_REPEAT = "Repeat the request with the same Idempotency-Key to wait for it."

NOT_RECEIVING = "The bot cannot accept messages at the moment. Please try again in a moment."
PERHAPS_NOT_STORED = f"The message may not have been stored. {_REPEAT}"
PERHAPS_NOT_STOPPED = "It may not have been stopped. Please try again in a moment."
NO_ANSWER_YET = f"There is no answer yet. {_REPEAT}"
SHUTTING_DOWN = f"The bot is shutting down and will answer after its restart. {_REPEAT}"
STARTS_AGAIN = f"The answer was interrupted and starts again. {_REPEAT}"
