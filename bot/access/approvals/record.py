"""Approval request as it is stored. Plain data."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bot.chat import Approval, Decision, Message, Proposal, ThreadId, Turn, Verdict, with_channel


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """Approval request with its requesters and the places that show it.

    `people` are the accounts of all requesters, including linked ones. `questions` maps the original ids of
    the messages that it answers to their `edited_at`. `shown` are the further threads that show the request.
    """

    approval: Approval
    proposal: Proposal
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

    @classmethod
    def of(
        cls,
        turn: Turn,
        approval: Approval,
        proposal: Proposal,
        people: Sequence[str],
        questions: Mapping[str, float],
    ) -> "RequestRecord":
        """Return the record of a request that a turn makes."""
        question = turn.messages[-1]
        return cls(
            approval=approval,
            proposal=proposal,
            thread=turn.thread,
            askers=approval.askers,
            channel=question.channel,
            parent=question.parent,
            is_private_thread=question.is_private_thread,
            place=question.place,
            direct=turn.direct,
            people=people,
            questions=questions,
        )

    def decision(self, verdict: Verdict, by: str = "", reason: str = "", name: str = "") -> Decision:
        """Return a decision of this request, made now."""
        return Decision(
            request=self.approval.id,
            verdict=verdict,
            at=time.time(),
            thread=self.thread,
            asker=self.askers[0],
            summary=f"{self.approval.title}: {self.approval.action}",
            channel=self.channel,
            parent=self.parent,
            is_private_thread=self.is_private_thread,
            place=self.place,
            direct=self.direct,
            by=by,
            by_name=name,
            reason=reason,
            askers=tuple(self.askers),
        )

    @property
    def is_open(self) -> bool:
        """Return whether the request can still be decided."""
        return self.approval.state == "asked" and self.approval.expires_at > time.time()

    def is_shown_in(self, thread: ThreadId) -> bool:
        """Return whether a thread has the request, perhaps far above."""
        return str(thread) in (str(self.thread), *self.shown)

    def is_seen_by(self, message: Message) -> bool:
        """Return whether the author of a message currently sees the request."""
        if message.seen_request is None:
            return self.is_shown_in(message.thread)
        return message.seen_request == self.approval.id

    def to_json(self) -> str:
        """Return the fields that never change, as JSON."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "shown"})

    @classmethod
    def from_json(cls, request: bytes, verdict: bytes | None, shown: bytes | None) -> "RequestRecord":
        """Parse a stored record. Raises `KeyError`, `TypeError` or `ValueError` for a wrong field."""
        stored = with_channel(json.loads(request))
        return cls(
            Approval.from_json(
                {"askers": stored["askers"], **stored["approval"], **(json.loads(verdict) if verdict else {})}
            ),
            Proposal(**stored["proposal"]),
            ThreadId(**stored["thread"]),
            stored["askers"],
            stored["channel"],
            stored["parent"],
            stored["is_private_thread"],
            stored["place"],
            stored["direct"],
            stored.get("people", ()),
            stored.get("questions") or {stored["approval"]["asked_in"]: 0.0},
            json.loads(shown) if shown else (),
        )


def askers_of(turn: Turn) -> tuple[str, ...]:
    """Return the requesters of a turn, or those of the decision that began it."""
    return turn.decision.askers if turn.decision and turn.decision.askers else turn.authors
