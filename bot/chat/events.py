"""Events in a thread: messages, edits, deletions, decisions and stops. Plain data that can be stored."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from bot.chat.text import well_formed_json

Json = Any
"""Value that `json.dumps` accepts; the standard library has no narrower type for it."""

_PLAIN = re.compile(r"[a-z0-9._-]{1,128}")
_DIGEST_PREFIX = "sha256."

_CASELESS_PLATFORMS = frozenset({"slack"})
"""Platforms whose ids are upper-case only, so that they stay distinct in lower case.

Not in `PlatformInfo`: keys in Redis must not depend on the platforms that a process has imported.
"""


PRIVATE_ANSWER = "private_answer"
"""Key of `Message.place`: set if only the author reads the answer. Requests and their decisions keep it."""


@dataclass(frozen=True, slots=True)
class ThreadId:
    """Id of one conversation: a channel's thread, a direct message, or an HTTP caller's thread.

    The fields keep the platform's own spelling. `str()` is the name in Redis and LangGraph: lower-case
    `[a-z0-9:._-]`, because RediSearch ignores case and would confuse `A` with `a`. A field outside that
    alphabet is replaced by its digest, so that different threads never share a name.
    """

    platform: str
    space: str
    channel: str
    thread: str = ""

    def __str__(self) -> str:
        return _name_of(self)

    def to_json(self) -> dict[str, str]:
        """Return the fields as a JSON object."""
        return {
            "platform": self.platform,
            "space": self.space,
            "channel": self.channel,
            "thread": self.thread,
        }


@lru_cache(1_000)  # each step of a turn needs it
def _name_of(id: ThreadId) -> str:
    parts = [id.platform, id.space, id.channel, *([id.thread] if id.thread else [])]
    lowered = id.platform in _CASELESS_PLATFORMS
    return ":".join(_plain(part.lower() if lowered else part) for part in parts)


def _plain(part: str) -> str:
    # a part that already looks like a digest is digested too: nobody can name another thread's digest
    if _PLAIN.fullmatch(part) and not part.startswith(_DIGEST_PREFIX):
        return part
    return _DIGEST_PREFIX + hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:40]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """File that a user attached to a message; `url` is on the platform's own host, `size` is in bytes."""

    name: str
    media_type: str
    size: int
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Text in a message that its author did not write: a message it replies to, a forward, a poll.

    `source` describes its origin in a few words. Both are data: never a command, and never an instruction.
    """

    source: str
    text: str


class Locale(NamedTuple):
    """Time zone (IANA, empty if not known), offset from UTC in seconds, and language setting of a user."""

    time_zone: str = ""
    utc_offset: int = 0
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Message from a user. Plain data: it is stored as JSON until it is answered.

    - `id` is stable over redeliveries, and the same for all events that one message causes. `sent_at` is in
      Unix seconds. `text` does not contain the mention of the bot; `quotes` are texts of others in the
      message.
    - `author` is `<platform>:<user id>`, as in ADMIN_USERS, and `roles` are theirs, as in ALLOWED_ROLES.
      `author_space` is their own space, as in ALLOWED_SPACES, empty if it is that of the thread or unknown.
      `is_guest` marks a guest. `bot_ids` are the ids of a bot, as in ALLOWED_BOTS, empty for a person.
    - `addressed` marks a mention or a direct message; other messages count only in threads that the bot has
      joined. `direct` marks a direct message.
    - `purpose` is `aside` for a message that mentions others and not the bot, `command` for a typed command,
      `quiet` for the command after which the bot does not follow the thread, and empty for all others.
    - `channel` is the id of the channel, empty on a platform without channels. If that is a thread with a
      separate id (Discord), `parent` is the thread's channel, and `is_private_thread` marks a thread that not
      all readers of `parent` can read. `place` is further data that the platform needs to answer there.
    - `voices` are the addresses of the attachments in which the author speaks: voice messages.
    - `seen_request` is the id of the approval request that the message replies to; empty if the thread is
      endless and the message replies to none; None if everybody reads the whole thread.
    - `locale` is that of the author, if it is known.
    - `regenerates` is the id of the turn whose question is answered again, in place of the thread's last
      answer; such a message is a turn of its own.
    - Only the inbox sets the rest. `corrects` is the id of the answered message whose new wording this is,
      `edited_at` the time of that edit (Unix seconds, 0: none), `replays` the number of times that an
      operator has replayed it, `decision` the decision about a request of `author`.
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
    voices: tuple[str, ...] = ()
    purpose: "Purpose" = ""
    locale: Locale | None = None
    regenerates: str = ""

    @property
    def is_private(self) -> bool:
        """Return whether only the author reads the answer, though others read the channel."""
        return bool(self.place.get(PRIVATE_ANSWER))

    @property
    def is_external(self) -> bool:
        """Return whether the author is known not to be a full member of the thread's space."""
        return bool(self.author_space) or self.is_guest

    def to_json(self) -> dict[str, Json]:
        """Return the message as a JSON object without most defaults; `from_json` reverses it."""
        # by hand: `asdict` copies each value, which takes ten times as many function calls
        values = {name: value for name, of in _FIELDS if (value := getattr(self, name)) != of}
        if self.quotes:
            values["quotes"] = [asdict(each) for each in self.quotes]
        if self.decision:
            values["decision"] = asdict(self.decision)
        return values | {
            "thread": self.thread.to_json(),
            "attachments": [asdict(each) for each in self.attachments],
            "channel": self.channel,
            "place": dict(self.place),
        }

    def well_formed(self) -> "Message":
        """Return the message with texts that every store and service accepts; see `bot.chat.text`."""
        fields = self.to_json()
        sound = well_formed_json(fields)
        return self if sound is fields else Message.from_json(sound)

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> "Message":
        """Return the message from the result of `to_json`, without fields that a newer version added.

        Raises `KeyError` or `TypeError` for a missing or wrong field.
        """
        fields = _known(cls, with_channel(data))
        fields["thread"] = ThreadId(**fields["thread"])
        fields["attachments"] = tuple(Attachment(**each) for each in fields["attachments"])
        fields["quotes"] = tuple(Quote(**each) for each in fields.get("quotes", ()))
        for name in ("roles", "bot_ids", "voices"):
            fields[name] = tuple(fields.get(name, ()))
        if locale := fields.get("locale"):
            fields["locale"] = Locale(*locale)
        if decision := fields.get("decision"):
            typed = {"thread": ThreadId(**decision["thread"]), "askers": tuple(decision.get("askers", ()))}
            if locale := decision.get("locale"):
                typed["locale"] = Locale(*locale)
            fields["decision"] = Decision(**_known(Decision, with_channel(decision)) | typed)
        return cls(**fields)


_FIELDS = tuple((name, each.default) for name, each in Message.__dataclass_fields__.items())
"""Fields of a message with their defaults, which are not stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One or more messages that are answered together; a decision is always a separate turn.

    `id` is that of the first message. It and `messages` are the same on every attempt, so `id` is the
    idempotency key of all effects of the turn. `attempt` counts from 1. Of the earlier attempts, `failures`
    ended in an unexpected error, `crashes` with the process, and `hangs` hung its event loop. `gaps` are the
    ids of messages before which others were written in the thread that the agent was not given, each with the
    time of the earliest of these (Unix seconds, 0: any).
    """

    id: str
    thread: ThreadId
    messages: tuple[Message, ...]
    gaps: Mapping[str, float] = field(default_factory=dict)
    attempt: int = 1
    failures: int = 0
    crashes: int = 0
    hangs: int = 0

    @property
    def authors(self) -> tuple[str, ...]:
        """Return the distinct authors of the messages."""
        return tuple(dict.fromkeys(message.author for message in self.messages))

    @property
    def names(self) -> dict[str, str]:
        """Return the display names of the authors that have one."""
        return {message.author: message.author_name for message in self.messages if message.author_name}

    @property
    def direct(self) -> bool:
        """Return whether only the author and the bot read the answer."""
        return all(message.direct or message.is_private for message in self.messages)

    @property
    def decision(self) -> "Decision | None":
        """Return the decision that the turn is about, if it is about one."""
        return next((message.decision for message in self.messages if message.decision), None)

    @property
    def regenerates(self) -> str:
        """Return the turn whose question the turn answers again; empty for all others.

        An earlier version may have joined an order with other messages: then it counts as words, as there.
        """
        return self.messages[0].regenerates if len(self.messages) == 1 else ""

    @property
    def answer(self) -> str:
        """Return the id of the answer, see `answer_id`."""
        return answer_id(self.id)

    @property
    def reference(self) -> str:
        """Return a short id that a user can quote and an operator can find in the log."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:8]


def answer_id(turn_id: str) -> str:
    """Return the id of a turn's answer in its buttons: a digest, since ids of messages have no limit."""
    return hashlib.sha256(f"answer of {turn_id}".encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Edit of a message: `message` has the new wording and the original id.

    The text of a waiting message is replaced; of the answered messages only the last one in a thread is
    answered again. `edited_at` (Unix seconds) identifies the edit and is stable over redeliveries.
    """

    message: Message
    edited_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Deletion of a message: it is not answered, and a turn without other messages is stopped."""

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Request by a user (`by`, an author as in `Message`) to stop answers, chosen by the fields that are set.

    `thread`: all answers to earlier messages there. `message_id`: the turn of that message, if `by` wrote it.
    `channel`, if the others match no running turn: the answers to `by` in all threads of that channel.

    `id` identifies the stop and is stable over redeliveries. `at` (Unix seconds) is the time of the request:
    later messages are not affected; 0 if it cannot arrive late. `is_external` is as in `Message`: such a user
    cannot stop the answers of others, even as an administrator.
    """

    by: str
    id: str = ""
    at: float = 0.0
    thread: ThreadId | None = None
    message_id: str = ""
    channel: str = ""
    is_external: bool = False


Purpose = Literal["", "aside", "command", "quiet"]

Verdict = Literal["approved", "rejected", "answered", "withdrawn", "expired"]
"""Outcome of a request: an approval is `approved` or `rejected`, a question `answered` or `withdrawn`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Decision about a request that was made in `thread`, or its answer; a request has at most one.

    `request` is the request's id. `by` (an author as in `Message`, named `by_name`) decided at `at` (Unix
    seconds), or nobody did and it `expired`. `asker` made the request with a message that had this `channel`,
    `parent`, `is_private_thread` and `place`; `askers` are all requesters. `summary` describes it in one
    line. `reason` is that of the decision, or the chosen answer. `is_external` is as in `Message`, for any of
    the requesters, and `locale` that of `asker`.
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
    is_external: bool = False
    locale: Locale | None = None


def with_channel(stored: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a stored message, decision or request with the fields that older versions stored in `place`."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """Removal of the bot from a space by its users: what it knows of that space is to be removed."""

    platform: str
    space: str


ThreadEvent = Message | Correction | Withdrawal | Decision | Stop
"""Event in a thread, which is put into the inbox; a `Stop` takes effect immediately."""

Event = ThreadEvent | Departure
"""Event that a platform delivers."""

Outcome = Literal[
    "kept", "duplicate", "ignored", "replaced", "corrected", "removed", "stopped", "refused", "idle"
]
"""Result of putting an event into the inbox.

A message is `kept`, a `duplicate`, or `ignored` (not addressed, and the bot has not joined the thread or does
not follow its author there). A correction has
`replaced` a waiting message, or `corrected` the one that runs or was answered last, which is then answered
again; one of an unknown message counts as that message if it is recent; others are `ignored`. A withdrawal
has `removed` a message, or `stopped` its turn; an order to answer a deleted question again is `removed`, too.
A decision is `kept`, or a `duplicate` when there was one before. A stop has `stopped` something, was
`refused`, found all `idle`, or is a `duplicate`.
"""

Deliver = Callable[[Event], Awaitable[None]]
"""Function that stores an event durably: the platform acknowledges the event when it returns, and must not
do so when it raises an error of the store."""
