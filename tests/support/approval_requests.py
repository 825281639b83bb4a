"""Approval request of a question, its approvers, and the decisions that Redis has of it."""

import json
from collections.abc import Awaitable, Callable, Set
from dataclasses import replace

from redis.asyncio import Redis

from bot.access.requests import ApprovalRules, QuestionRules, Requests, RequestStore
from bot.chat import Admission, Admit, Decision, Message, Proposal, ThreadId, Turn, parse_decision
from bot.inbox import Inbox, keys

ADA, BOB, EVE = "slack:UADA", "discord:80351", "slack:UEVE"
THREAD = ThreadId("slack", "T1", "C1", "1.1")
QUESTION = Message(
    id="slack:T1:C1:1.1",
    thread=THREAD,
    author=ADA,
    text="take one",
    sent_at=1,
    addressed=True,
    channel="C1",
    place={"team": "T1", "ts": "1.1"},
)
TURN = Turn(id=QUESTION.id, thread=THREAD, messages=(QUESTION,))
PROPOSAL = Proposal(
    id="7f3a9c21",
    tool="sql_execute",
    arguments={"statement": "DELETE FROM shelf WHERE id = 1"},
    title="Change the database",
    action="DELETE FROM shelf WHERE id = 1",
    effect="It would delete 1 row of shelf.",
    facts={"rows": 1},
)

SHOWN = """\
🔏 **Change the database?** It would delete 1 row of shelf. Asked for by somebody on Slack.

```
DELETE FROM shelf WHERE id = 1
```"""
"""Text that every decision's answer repeats."""


def approvals(
    redis: Redis,
    *,
    approvers: Set[str] = frozenset({ADA, BOB}),
    hours: float = 1,
    four_eyes: bool = False,
    same_person: Callable[[str, str], Awaitable[Set[str]]] | None = None,
    admission: Admission | None = None,
    process: str = "one",
) -> Requests:
    """Return the requests of a process; without an `admission` everybody is admitted."""
    rules = ApprovalRules(approvers, hours, four_eyes, same_person)
    inbox = Inbox(redis, name=process, follow_days=1)
    return Requests(RequestStore(redis), inbox, rules, QuestionRules(hours, admission or AdmitsAll()))


class AdmitsAll:
    """Implements `bot.chat.Admission`."""

    async def check(self, message: Message) -> Admit:
        return Admit()


async def decisions(redis: Redis) -> list[Decision]:
    """Return the decisions that wait in the thread's mailbox."""
    stored = await redis.hvals(keys.messages(str(THREAD)))
    messages = [Message.from_json(json.loads(each)) for each in stored]
    return [message.decision for message in messages if message.decision]


def message_by(text: str, by: str = BOB, thread: ThreadId = THREAD) -> Message:
    """Return a message of somebody in a thread."""
    return replace(QUESTION, id=f"{by} {text}", author=by, text=text, thread=thread, author_name="Bob")


async def answer_to(kept: Requests, message: Message) -> str:
    """Return the answer to a decision in words."""
    order = parse_decision(message.text)
    assert order
    return await kept.decide_in_words(order, message)
