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

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
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
    `corrects` is the id of the answered message that this one is the new wording of, `replays` how often an
    operator has put it back after it was given up; only the inbox sets these two.
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
    corrects: str = ""
    replays: int = 0

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

    @property
    def reference(self) -> str:
        """What a person can quote, and an operator finds in the log."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:8]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A person has edited a message: `message` is its new wording, with the id that it always had.

    While the message waits, its text is replaced; once it is answered, the last one of a thread is answered
    again. `edited_at` (Unix seconds) tells one edit from the next and is the same over redeliveries.
    """

    message: Message
    edited_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """A person has deleted a message: it is not answered, and a turn that only it asked for is stopped."""

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """`by` (an author, as in `Message`) wants no more answer. To what, say those of these that are set:

    `thread`: all that was asked there so far. `message_id`: the turn of that message, if `by` wrote it.
    `channel`, when the others name nothing that is under way: what `by` has asked in that channel of the
    platform, in all its threads.

    `id` tells one stop from the next and is the same over redeliveries. `at` (Unix seconds) is when it was
    said: what was asked later is not meant; 0 when it cannot come late.
    """

    by: str
    id: str = ""
    at: float = 0.0
    thread: ThreadId | None = None
    message_id: str = ""
    channel: str = ""


Event = Message | Correction | Withdrawal | Stop
"""What people do in a thread. Plain data that passes the inbox's door; a `Stop` acts at once."""

Deliver = Callable[[Event], Awaitable[None]]
"""Takes an event over for good; when it returns, the platform may acknowledge. Raises what the store
raises when the event could not be kept: then the platform must not acknowledge."""

Answer = Callable[[Turn], AsyncIterator[Part]]
"""The agent, as the rest sees it. Raises `AnswerError` when there is no answer to be had."""


async def _always_held() -> None:
    """There is no lease to lose."""


@dataclass(slots=True)
class Receipt:
    """What is known of one reply on its platform, kept so that a restart finishes it in the same place.

    `hold` is to be awaited before each thing that people will see, since a chat service cannot tell a
    process that lost its lease from the one that has it now: it raises `LeaseLost` when the turn is no longer
    ours, and asks Redis only when the last renewal is so old that this may be.

    `state` is a JSON object whose keys belong to the platform, but for `ending` and `said` (see turn.py); it
    is empty before the first step.
    """

    turn: Turn
    keep: Callable[[Mapping[str, Json]], Awaitable[None]]
    state: dict[str, Json] = field(default_factory=dict)
    hold: Callable[[], Awaitable[None]] = _always_held

    async def save(self, **changes: Json) -> None:
        """Merge `changes` into the state and store it. Raises `LeaseLost` when the turn is no longer ours."""
        self.state |= changes
        await self.keep(self.state)


Halt = asyncio.Future[str]
"""Done when a turn is to end now; its result is the sentence to end the reply with."""


class Thread(Protocol):
    """A place where one answer can be shown."""

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Render `parts` as they come and return once all of it is shown.

        With a receipt that an earlier attempt left, finish that answer instead of showing a second one;
        `parts` then yields the whole answer again. Raises `PlatformError`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of one part of the bot, with the evidence for it (units are in the keys' names)."""

    name: str
    state: Literal["ok", "degraded", "down", "off"]
    evidence: Mapping[str, Json] = field(default_factory=dict)


class Shared(Protocol):
    """What all processes of the bot know together; a platform gets it when it is connected.

    Names (`limit`, `lease`, `group`, `source`) begin with the platform's. All raise `StorageDown`, but for
    `delay`, which lets the caller go on: a limit that is not kept is only refused.
    """

    async def delay(self, limit: str, per_minute: int) -> float:
        """Count one of the calls that `limit` allows `per_minute`: 0 when counted, else the seconds to wait.

        No minute has more of them, whenever it begins.
        """

    async def lease(self, lease: str, seconds: float, holder: str = "") -> bool:
        """Take or renew a lease for this process: whether it is ours for `seconds` from now.

        A `holder` is a part of this process that shares its lease with no other part.
        """

    async def release(self, lease: str, holder: str = "") -> None:
        """Give a lease back, if it is ours."""

    async def attend(self, group: str, seconds: float, note: Json = None) -> tuple[int, Sequence[Json]]:
        """Count this process to a group for `seconds`, with a note for the others.

        Returns the notes of all that are in it now, in an order that stays, and which of them is ours.
        """

    async def leave(self, group: str) -> None:
        """Do not attend any more."""

    async def agree(self, group: str, wish: int, *, in_use: bool) -> int | None:
        """The number that all who attend a group use; to be asked again and again while attending.

        It stays as long as one of them wishes it. Then it is None, and who was told it must end its use and
        say so, by asking without `in_use`; once all have, it is what the first to ask wishes.
        """

    async def heard_until(self, *sources: str) -> float | None:
        """Until when (Unix seconds) all that the `sources` had to say was taken; None before the first time.

        Of several it is the earliest, and None while one is missing.
        """

    async def set_heard_until(self, source: str, until: float) -> None:
        """Note that all up to `until` was taken. Never moves back."""

    async def active_threads(self, platform: str, since: float) -> Sequence[ThreadId]:
        """The threads that the bot takes part in and that had a message after `since`, the newest first."""

    async def is_known(self, message_id: str) -> bool:
        """Whether that message was taken within the last days."""

    async def receipt_of(self, message_id: str) -> Mapping[str, Json] | None:
        """The state of the receipt of the turn that took a message; None while no turn has."""

    async def is_taken_back(self, thread: ThreadId, message_id: str) -> bool:
        """Whether a message was taken, and then out of its thread before any turn had it: nobody answers it.

        That is what happens to a message that waits behind the turn that people stop.
        """


class Platform(Protocol):
    """A chat service, connected. Open it with the `connect` function of its folder."""

    @property
    def name(self) -> str:
        """The first field of its `ThreadId`s, in lower case."""

    async def receive(self, deliver: Deliver) -> None:
        """Hand every event to `deliver` until cancelled; may be called again after it has raised.

        Each call builds what it listens with anew. Replies work before, during and after it, and in processes
        that never call it. Raises `PlatformError` when the connection is lost for good
        (`CredentialsRejected`: do not try again).
        """

    async def catch_up(self, deliver: Deliver) -> None:
        """Once connected, make sure that all which people wrote until now was handed to `deliver`.

        Called every few seconds beside `receive`. Reads the history, the oldest first, after each gap in the
        connection, and now and then to find out whether it is deaf; from the moment until which all is known
        to have been heard, and no further back than CATCH_UP_HOURS. What was taken already is handed over
        again, which does nothing. Raises `PlatformError`, and what `deliver` raises: the gap then stays.
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
