"""Request as it is stored. Plain data."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bot.chat import (
    Approval,
    Decision,
    Inquiry,
    Json,
    Locale,
    Message,
    Proposal,
    Question,
    Request,
    Stop,
    ThreadId,
    Turn,
    Verdict,
    WaitingCall,
    with_channel,
)


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """Request with its requesters, its call, and the places that show it.

    `people` are the accounts of all requesters, including linked ones; they count as the owners of an
    approval request. `questions` maps the original ids of the messages that it answers to their `edited_at`.
    `shown` are the further threads that show the request. `is_external` is that of any requester, as in
    `Message`, and `locale` that of the one whose message it is about.
    """

    request: Request
    call: WaitingCall
    thread: ThreadId
    askers: Sequence[str]
    channel: str
    parent: str
    is_private_thread: bool
    place: Mapping[str, str]
    direct: bool
    people: Sequence[str] = ()
    questions: Mapping[str, float] = field(default_factory=dict)
    shown: Sequence[str] = ()
    is_external: bool = False
    locale: Locale | None = None

    @classmethod
    def of(
        cls,
        turn: Turn,
        request: Request,
        call: WaitingCall,
        people: Sequence[str],
        questions: Mapping[str, float],
    ) -> "RequestRecord":
        """Return the record of a request that a turn makes."""
        question = turn.messages[-1]
        return cls(
            request=request,
            call=call,
            thread=turn.thread,
            askers=askers_of(turn),
            channel=question.channel,
            parent=question.parent,
            is_private_thread=question.is_private_thread,
            place=question.place,
            direct=turn.direct,
            people=people,
            questions=questions,
            is_external=any(each.is_external for each in turn.messages),
            locale=question.locale,
        )

    def decision(self, verdict: Verdict, by: str = "", reason: str = "", name: str = "") -> Decision:
        """Return a decision of this request, made now."""
        return Decision(
            request=self.request.id,
            verdict=verdict,
            at=time.time(),
            thread=self.thread,
            asker=self.askers[0],
            summary=_summary(self.request),
            channel=self.channel,
            parent=self.parent,
            is_private_thread=self.is_private_thread,
            place=self.place,
            direct=self.direct,
            by=by,
            by_name=name,
            reason=reason,
            askers=tuple(self.askers),
            is_external=self.is_external,
            locale=self.locale,
        )

    def withdrawal(self, by: str, reason: str) -> Decision:
        """Return the decision that ends the request because its reason to exist is gone."""
        verdict: Verdict = "withdrawn" if isinstance(self.request, Question) else "rejected"
        return self.decision(verdict, by, reason)

    @property
    def is_open(self) -> bool:
        """Return whether the request can still be decided."""
        return self.request.state == "asked" and self.request.expires_at > time.time()

    def is_shown_in(self, thread: ThreadId) -> bool:
        """Return whether a thread has the request, perhaps far above."""
        return str(thread) in (str(self.thread), *self.shown)

    def is_seen_by(self, message: Message) -> bool:
        """Return whether the author of a message currently sees the request."""
        if message.seen_request is None:
            return self.is_shown_in(message.thread)
        return message.seen_request == self.request.id

    def is_named_by(self, stop: Stop) -> bool:
        """Return whether a stop names the thread of the request, or a message that it answers."""
        return str(stop.thread) == str(self.thread) or stop.message_id in self.questions

    def is_in_channel_of(self, stop: Stop) -> bool:
        """Return whether a stop is for the channel of the request, and by one of its requesters."""
        channels = {self.thread.channel, self.channel, self.parent}
        is_same_platform = self.thread.platform == stop.by.partition(":")[0]
        return bool(stop.channel) and stop.channel in channels and is_same_platform and stop.by in self.askers

    def to_json(self) -> str:
        """Return the fields that never change, as JSON, under the names that earlier versions know."""
        kind = "question" if isinstance(self.request, Question) else "approval"
        names = {"request": kind, "call": "proposal"}
        return json.dumps(
            {names.get(name, name): value for name, value in asdict(self).items() if name != "shown"}
        )

    @classmethod
    def from_json(cls, request: bytes, verdict: bytes | None, shown: bytes | None) -> "RequestRecord":
        """Parse a stored record. Raises `KeyError`, `TypeError` or `ValueError` for a wrong field."""
        stored = with_channel(json.loads(request))
        decided = json.loads(verdict) if verdict else {}
        parsed: Request
        call: WaitingCall
        if "question" in stored:
            parsed = Question.from_json({**stored["question"], **decided})
            call = _inquiry(stored["proposal"])
        else:
            parsed = Approval.from_json({"askers": stored["askers"], **stored["approval"], **decided})
            call = Proposal(**stored["proposal"])
        return cls(
            parsed,
            call,
            ThreadId(**stored["thread"]),
            stored["askers"],
            stored["channel"],
            stored["parent"],
            stored["is_private_thread"],
            stored["place"],
            stored["direct"],
            stored.get("people", ()),
            stored.get("questions") or {parsed.asked_in: 0.0},
            json.loads(shown) if shown else (),
            stored.get("is_external", False),
            Locale(*stored["locale"]) if stored.get("locale") else None,
        )


def _inquiry(stored: Json) -> Inquiry:
    return Inquiry(**{**stored, "options": tuple(stored["options"])})


def _summary(request: Request) -> str:
    match request:
        case Approval():
            return f"{request.title}: {request.action}"
        case Question():
            return f"Question: {request.text}"


def askers_of(turn: Turn) -> tuple[str, ...]:
    """Return the requesters of a turn, or those of the decision that began it."""
    return turn.decision.askers if turn.decision and turn.decision.askers else turn.authors
