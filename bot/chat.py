"""The vocabulary that every other module speaks: plain data, protocols and errors, no I/O.

Errors, named for what the catcher does::

    BotError
    ├── AnswerError             the agent could not answer; its text is fit for the person who asked
    ├── LeaseLost               another process holds this thread now: stop and write nothing more
    ├── StorageDown             our own Redis failed: the turn is tried again later
    └── PlatformError           a chat service refused or failed: the turn is tried again later
        ├── RateLimited             ... after the seconds it names
        ├── Unreachable             ... it did not answer at all
        ├── Undeliverable           never: this reply cannot be shown there (channel gone, no permission)
        └── CredentialsRejected     never: a person must mend a token or a setting
"""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

Json = Any
"""Whatever `json.dumps` takes; the standard library has no narrower name for it."""

_PLAIN = re.compile(r"[a-z0-9._-]{1,128}")
_DIGEST_PREFIX = "sha256."

_CASELESS_PLATFORMS = frozenset({"slack"})
"""Platforms whose ids are upper-case only, so that lowering them keeps them distinct."""


@dataclass(frozen=True, slots=True)
class ThreadId:
    """One conversation: a channel's thread, a direct message, or an HTTP caller's thread.

    The fields keep the platform's own spelling. `str()` is what Redis and LangGraph see: lower-case
    `[a-z0-9:._-]`, because RediSearch compares without case and would mix `A` with `a`. A field outside
    that alphabet is replaced by its digest, so that different threads never share a name.
    """

    platform: str
    space: str
    channel: str
    thread: str = ""

    def __str__(self) -> str:
        parts = [self.platform, self.space, self.channel, *([self.thread] if self.thread else [])]
        lowered = self.platform in _CASELESS_PLATFORMS
        return ":".join(_plain(part.lower() if lowered else part) for part in parts)


def _plain(part: str) -> str:
    # a part that already looks like a digest is digested too: nobody can name another thread's digest
    if _PLAIN.fullmatch(part) and not part.startswith(_DIGEST_PREFIX):
        return part
    return _DIGEST_PREFIX + hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:40]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that a person sent along; `url` is on the platform's own host. `size` is in bytes."""

    name: str
    media_type: str
    size: int
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a person wrote. Plain data: it is stored as JSON until it is answered.

    `id` is stable over redeliveries and the same for the several events that one message causes.
    `author` is `<platform>:<user id>`, as in ADMIN_USERS. `text` no longer has the mention of the bot.
    `sent_at` is in Unix seconds. `addressed` tells a mention or a direct message from a message that
    only counts when the bot already takes part in the thread. `direct` marks a direct message. `place` is
    what the platform needs to answer there (ids of channel, message, team), known to that platform alone.
    """

    id: str
    thread: ThreadId
    author: str
    text: str
    sent_at: float
    addressed: bool
    direct: bool = False
    author_name: str = ""
    attachments: tuple[Attachment, ...] = ()
    place: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """The message as a JSON object; `from_json` reverses it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> "Message":
        """Read back what `to_json` gave; fields that a newer version added are left out.

        Raises what a missing or wrong field raises: `KeyError`, `TypeError`.
        """
        fields = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
        fields["thread"] = ThreadId(**fields["thread"])
        fields["attachments"] = tuple(Attachment(**each) for each in fields["attachments"])
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One or more messages that are answered together.

    `id` and `messages` are the same on every attempt, so `id` is the idempotency key of all that the
    turn causes. `attempt` counts from 1.
    """

    id: str
    thread: ThreadId
    messages: tuple[Message, ...]
    attempt: int = 1


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
    """A sentence of the bot itself, not of the model: an error, a time limit, a refusal. Markdown."""

    text: str


Part = Text | ToolStep | Notice
"""The next piece of an answer."""

Event = Message
"""What people do in a thread. Plain data that passes the inbox's door."""

Deliver = Callable[[Event], Awaitable[None]]
"""Takes an event over for good; when it returns, the platform may acknowledge. Raises what the store
raises when the event could not be kept: then the platform must not acknowledge."""

Answer = Callable[[Turn], AsyncIterator[Part]]
"""The agent, as the rest sees it. Raises `AnswerError` when there is no answer to be had."""


@dataclass(slots=True)
class Receipt:
    """What is known of one reply on its platform, kept so that a restart finishes it in the same place.

    `state` is a JSON object whose keys belong to the platform, but for `error` (see turn.py); it is empty
    before the first step.
    """

    turn: Turn
    keep: Callable[[Mapping[str, Json]], Awaitable[None]]
    state: dict[str, Json] = field(default_factory=dict)

    async def save(self, **changes: Json) -> None:
        """Merge `changes` into the state and store it. Raises `LeaseLost` when the turn is no longer ours."""
        self.state |= changes
        await self.keep(self.state)


class Thread(Protocol):
    """A place where one answer can be shown."""

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Render `parts` as they come and return once all of it is shown.

        With a receipt that an earlier attempt left, finish that answer instead of showing a second one;
        `parts` then yields the whole answer again, or only the error that ended it. Raises `PlatformError`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of one part of the bot, with the evidence for it (units are in the keys' names)."""

    name: str
    state: Literal["ok", "degraded", "down", "off"]
    evidence: Mapping[str, Json] = field(default_factory=dict)


class Platform(Protocol):
    """A chat service, connected. Open it with the `connect` function of its folder."""

    @property
    def name(self) -> str:
        """The first field of its `ThreadId`s, in lower case."""

    async def receive(self, deliver: Deliver) -> None:
        """Hand every message to `deliver` until cancelled; may be called again after it has raised.

        Each call builds what it listens with anew. Replies work before, during and after it. Raises
        `PlatformError` when the connection is lost for good (`CredentialsRejected`: do not try again).
        """

    def thread(self, id: ThreadId) -> Thread:
        """The place to answer; makes no request."""

    async def health(self) -> Health:
        """Whether it is connected, and how that is known. Never raises, and ends within seconds."""


class BotError(Exception):
    """Base of the errors that one part of the bot raises for another."""


class AnswerError(BotError):
    """There is no answer to be had; `str()` says so in words that the person who asked can act on."""


class LeaseLost(BotError):
    """Another process holds the thread now: stop, and write nothing more."""


class StorageDown(BotError):
    """The store of messages and memory failed: the turn is tried again later."""


class PlatformError(BotError):
    """A chat service refused a request or failed."""


class RateLimited(PlatformError):
    """The service asks to wait `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(PlatformError):
    """The service did not answer, or answered that it is out of order."""


class Undeliverable(PlatformError):
    """The reply can never be shown there: the channel is gone, or the bot may not write in it."""


class CredentialsRejected(PlatformError):
    """The service does not accept our token or settings; the text says which variable to mend."""
