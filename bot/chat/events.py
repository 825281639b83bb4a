"""What people do in a thread, as plain data that can be stored: write, edit, delete, decide, stop."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bot.chat.text import well_formed_json

Json = Any
"""Whatever `json.dumps` takes; the standard library has no narrower name for it."""

_PLAIN = re.compile(r"[a-z0-9._-]{1,128}")
_DIGEST_PREFIX = "sha256."

_CASELESS_PLATFORMS = frozenset({"slack"})
"""Platforms whose ids are upper-case only, so that lowering them keeps them distinct.

Not in `PlatformInfo`: a key in Redis depends on nothing that a process may not have imported.
"""


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
class Quote:
    """Text that came with a message and is not its author's own: a message it replies to, a forward, a poll.

    `source` says in a few words where it is from. Both are data: never a command, and never an instruction.
    """

    source: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a person wrote. Plain data: it is stored as JSON until it is answered.

    `id` is stable over redeliveries and the same for the several events that one message causes.
    `author` is `<platform>:<user id>`, as in ADMIN_USERS. `text` no longer has the mention of the bot.
    `sent_at` is in Unix seconds. `addressed` tells a mention or a direct message from a message that
    only counts when the bot already takes part in the thread. `direct` marks a direct message.
    `channel` is the id of the channel that it was written in, empty on a platform without channels; where
    that is a thread with an id of its own (Discord), `parent` is the channel that the thread belongs to, and
    `is_private_thread` says that not all who read `parent` can read it. `place` is what else the platform
    needs to answer there, known to that platform alone.
    `corrects` is the id of the answered message that this one is the new wording of, `edited_at` the time of
    the edit that it has its wording from (Unix seconds, 0: none), `replays` how often an operator has put it
    back after it was given up, `decision` what was decided about a request that `author` has made; only the
    inbox sets these four. `roles` are the author's, as in ALLOWED_ROLES; `bot_ids` the
    names by which ALLOWED_BOTS may know an author that is a bot, none for a person. `author_space` is the
    author's own space, as in ALLOWED_SPACES, empty when it is the thread's or is not known; `is_guest` marks
    an author who is a guest. `quotes` are what others wrote and the message shows. `seen_request` is the id
    of the request for approval that the message replies to; None where everybody reads all of the thread,
    empty where the thread goes on for ever and the message replies to no request.
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
    channel: str = ""
    parent: str = ""
    is_private_thread: bool = False
    place: Mapping[str, str] = field(default_factory=dict)
    corrects: str = ""
    edited_at: float = 0.0
    replays: int = 0
    decision: "Decision | None" = None
    roles: tuple[str, ...] = ()
    bot_ids: tuple[str, ...] = ()
    author_space: str = ""
    is_guest: bool = False
    quotes: tuple[Quote, ...] = ()
    seen_request: str | None = None

    @property
    def is_external(self) -> bool:
        """Tell if the author is no full member of the thread's space, as far as that is known."""
        return bool(self.author_space) or self.is_guest

    def to_json(self) -> dict[str, Json]:
        """The message as a JSON object; `from_json` reverses it."""
        return asdict(self)

    def well_formed(self) -> "Message":
        """Return the message with texts that every store and service takes; see `bot.chat.text`."""
        fields = self.to_json()
        sound = well_formed_json(fields)
        return self if sound is fields else Message.from_json(sound)

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> "Message":
        """Read back what `to_json` gave; fields that a newer version added are left out.

        Raises what a missing or wrong field raises: `KeyError`, `TypeError`.
        """
        fields = _known(cls, with_channel(data))
        fields["thread"] = ThreadId(**fields["thread"])
        fields["attachments"] = tuple(Attachment(**each) for each in fields["attachments"])
        fields["quotes"] = tuple(Quote(**each) for each in fields.get("quotes", ()))
        for name in ("roles", "bot_ids"):
            fields[name] = tuple(fields.get(name, ()))
        if decision := fields.get("decision"):
            typed = {"thread": ThreadId(**decision["thread"]), "askers": tuple(decision.get("askers", ()))}
            fields["decision"] = Decision(**_known(Decision, with_channel(decision)) | typed)
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One or more messages that are answered together; a decision is a turn of its own.

    `id` is that of the first message. It and `messages` are the same on every attempt, so `id` is the
    idempotency key of all that the turn causes. `attempt` counts from 1.
    """

    id: str
    thread: ThreadId
    messages: tuple[Message, ...]
    attempt: int = 1

    @property
    def authors(self) -> tuple[str, ...]:
        """Who asked, each once."""
        return tuple(dict.fromkeys(message.author for message in self.messages))

    @property
    def direct(self) -> bool:
        """Whether nobody but the author and the bot reads the answer."""
        return all(message.direct for message in self.messages)

    @property
    def decision(self) -> "Decision | None":
        """What was decided, if that is what the turn is about."""
        return next((message.decision for message in self.messages if message.decision), None)

    @property
    def reference(self) -> str:
        """What a person can quote, and an operator finds in the log."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:8]


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
    said: what was asked later is not meant; 0 when it cannot come late. `is_external` as in `Message`: such a
    person ends nothing of others, be they an administrator.
    """

    by: str
    id: str = ""
    at: float = 0.0
    thread: ThreadId | None = None
    message_id: str = ""
    channel: str = ""
    is_external: bool = False


Verdict = Literal["approved", "rejected", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision about a request that was made in `thread`: one at most for each.

    `request` is the request's id. `by` (an author, as in `Message`, called `by_name`) has decided it at `at`
    (Unix seconds); nobody has when it `expired`. `asker` has made the request, with a message whose
    `channel`, `parent`, `is_private_thread` and `place` these are; `summary` says in a line what it was,
    `askers` are all who asked with them.
    """

    request: str
    verdict: Verdict
    at: float
    thread: ThreadId
    asker: str
    summary: str
    place: Mapping[str, str]
    channel: str = ""
    parent: str = ""
    is_private_thread: bool = False
    direct: bool = False
    by: str = ""
    reason: str = ""
    askers: tuple[str, ...] = ()
    by_name: str = ""


def with_channel(stored: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a stored message, decision or request with the fields that older versions kept in `place`."""
    if "channel" in stored:
        return stored
    place = dict(stored.get("place", {}))
    return {
        **stored,
        "channel": place.pop("channel", ""),
        "parent": place.pop("parent", ""),
        "is_private_thread": bool(place.pop("closed", "")),
        "place": place,
    }


def _known(kind: type[Message] | type[Decision], stored: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in stored.items() if name in kind.__dataclass_fields__}


Event = Message | Correction | Withdrawal | Decision | Stop
"""What people do in a thread. Plain data that passes the inbox's door; a `Stop` acts at once."""

Outcome = Literal[
    "kept", "duplicate", "ignored", "replaced", "corrected", "removed", "stopped", "refused", "idle"
]
"""Result of putting an event into the inbox.

A message is `kept`, a `duplicate`, or `ignored` (not addressed, thread not joined). A correction has
`replaced` a waiting message, or `corrected` the one that runs or was answered last, which is then answered
again; one of an unknown message counts as that message if it is recent; others are `ignored`. A withdrawal
has `removed` a message, or `stopped` its turn. A decision is `kept`, or a `duplicate` when there was one
before. A stop has `stopped` something, was `refused`, found all `idle`, or is a `duplicate`.
"""

Deliver = Callable[[Event], Awaitable[None]]
"""Takes an event over for good; when it returns, the platform may acknowledge. Raises what the store
raises when the event could not be kept: then the platform must not acknowledge."""
