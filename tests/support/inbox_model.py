"""Model of the inbox in plain Python: the specification that `bot.inbox` is tested against.

`Model` has a method for each step of the inbox. Threads and workers are strings; leases end only by explicit
calls.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile

from bot.chat import Correction, Decision, FollowUp, Json, Message, Stop, ThreadEvent, Withdrawal
from bot.inbox.intake import as_message
from bot.inbox.stops import Reason

NEVER = -1.0
"""Edit time of a message that was never edited."""

LEASE_MS = 3_600_000
"""Milliseconds of a lease: longer than any example takes, so that it expires only where a rule says so."""

LATE = 1e9
"""Time at which a turn that was postponed for long is due, on the model's clock."""


@dataclass(slots=True, kw_only=True)
class MessageFacts:
    """Known facts about a message id; if its deletion came first, nothing else is known."""

    thread: str = ""
    author: str = ""
    edited: float = NEVER
    corrects: str = ""
    withdrawn: bool = False
    silent: bool = False


@dataclass(slots=True)
class Task:
    """Current turn of a thread, begun or only fixed; its messages do not change any more."""

    messages: tuple[Message, ...]
    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    hangs: int = 0
    running: bool = False
    runner: str = ""
    crashed: bool = False
    error: str = ""
    stopped: Reason | None = None
    receipt: Mapping[str, Json] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """Return the ids of its messages; the first one is the turn's id, too."""
        return [message.id for message in self.messages]


@dataclass(slots=True)
class Mailbox:
    """Thread. `accepted` lists the messages that must be answered or given up in the end, in this order."""

    joined: bool = False
    gap: float | None = None
    """Time of the earliest of the messages that were passed over since the newest one that was accepted."""
    behind_gap: dict[str, float] = field(default_factory=dict)
    """Unanswered messages before which others were passed over, with the time of the earliest of these."""
    partner: tuple[float, str] | None = None
    answered: str = ""
    early: dict[str, tuple[Message, float]] = field(default_factory=dict)
    task: Task | None = None
    waiting: list[Message] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    @property
    def messages(self) -> list[Message]:
        """Return all unanswered messages."""
        return [*(self.task.messages if self.task else ()), *self.waiting]

    def fix(self) -> Task:
        """Make all waiting messages one turn, unless there is one already; a decision is a separate turn."""
        if self.task is None:
            decisions = [place for place, message in enumerate(self.waiting) if message.decision]
            most = max(decisions[0], 1) if decisions else len(self.waiting)
            self.task, self.waiting = Task(tuple(self.waiting[:most])), self.waiting[most:]
        return self.task

    def remove(self, message: Message) -> None:
        """Remove a withdrawn message that is not part of a turn yet."""
        self.waiting.remove(message)
        if (at := self.behind_gap.pop(message.id, None)) is not None:
            self.extend_gap(at)
        last = len(self.accepted) - 1 - self.accepted[::-1].index(message.id)
        del self.accepted[last]

    def extend_gap(self, at: float) -> None:
        """Note a message that was passed over."""
        self.gap = at if self.gap is None else min(at, self.gap)


@dataclass(slots=True, eq=False)
class Entry:
    """Thread that can run, and its holder; `expired` leases may be taken over.

    `author` is that of the first message that waited.
    """

    thread: str
    author: str
    holder: str = ""
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Dead:
    """Dead letter."""

    thread: str
    message: Message
    reason: str


class Model:
    """State of an inbox, and its steps; each returns the same as the real one."""

    def __init__(self, overruler: str = "") -> None:
        self.overruler = overruler
        self.policy: FollowUp = "partner"
        self.facts: dict[str, MessageFacts] = {}
        self.mailboxes: dict[str, Mailbox] = defaultdict(Mailbox)
        self.ready: list[Entry] = []
        self.later: dict[str, float] = {}
        self.dead: list[Dead] = []

    @property
    def active(self) -> set[str]:
        """Return the threads with work: each is ready or postponed, never both."""
        return {entry.thread for entry in self.ready} | self.later.keys()

    def put(self, event: ThreadEvent) -> str:
        """Take a user's event."""
        match event:
            case Message():
                return self._put(event, NEVER)
            case Correction():
                return self._correct(replace(event.message, edited_at=event.edited_at), event.edited_at)
            case Withdrawal():
                return self._withdraw(event.message_id)
            case Decision():
                return self._put(as_message(event), NEVER)
            case Stop():
                return self._stop(event)

    def _put(self, message: Message, edited: float) -> str:
        if message.id in self.facts and not (message.addressed and self.facts[message.id].silent):
            return "duplicate"
        mailbox = self.mailboxes[str(message.thread)]
        if not message.addressed and not (mailbox.joined and self._is_followed(mailbox, message)):
            _, newest = mailbox.early.get(message.id, (message, NEVER))
            if edited >= newest:
                mailbox.early[message.id] = message, edited
            if mailbox.joined:
                self._pass_over(message, edited)
            return "ignored"
        self._accept(message, edited)
        was_joined, mailbox.joined = mailbox.joined, True
        if mailbox.gap is not None and not message.decision:
            mailbox.behind_gap[message.id], mailbox.gap = mailbox.gap, None
        has_partner = message.addressed and self._heed(mailbox, message)
        if has_partner or not was_joined:
            self._accept_early(mailbox, message.sent_at)
        return "kept"

    def _accept_early(self, mailbox: Mailbox, since: float) -> None:
        for each, edited in sorted(mailbox.early.values(), key=lambda known: known[0].sent_at):
            if each.sent_at > since and (each.id not in self.facts or self.facts[each.id].silent):
                if self._is_followed(mailbox, each):
                    self._accept(each, edited)
                else:
                    self._pass_over(each, edited)
        mailbox.early.clear()

    def _is_followed(self, mailbox: Mailbox, message: Message) -> bool:
        """Return whether a message is answered that does not address the bot."""
        at, author = message.sent_at, message.author
        since, partner = mailbox.partner or (at, author)
        match message.purpose, self.policy:
            case "command", _:
                return True
            case "quiet", _:
                if at >= since:
                    mailbox.partner = at, "!"
                return True
            case _, "mention":
                return False
            case _, "always":
                return partner != "!"
            case purpose, _:
                mailbox.partner = since, partner
                if partner not in ("", "!", author) and at >= since:
                    mailbox.partner = at, ""
                return partner == author and at >= since and not purpose

    def _heed(self, mailbox: Mailbox, message: Message) -> bool:
        """Make the author of a mention the partner; return whether that changes something."""
        since, partner = mailbox.partner or (message.sent_at, "")
        wanted = "!" if message.purpose == "quiet" else message.author
        is_late = message.sent_at < since and partner != ""
        if is_late or wanted == partner or (message.purpose == "command" and mailbox.partner):
            return False
        mailbox.partner = message.sent_at, wanted
        return wanted != "!"

    def _pass_over(self, message: Message, edited: float) -> None:
        self.facts[message.id] = MessageFacts(
            thread=str(message.thread), author=message.author, edited=edited, silent=True
        )
        self.mailboxes[str(message.thread)].extend_gap(message.sent_at)

    def _accept(self, message: Message, edited: float) -> None:
        thread = str(message.thread)
        self.facts[message.id] = MessageFacts(
            thread=thread, author=message.author, edited=edited, corrects=message.corrects
        )
        self.mailboxes[thread].waiting.append(message)
        self.mailboxes[thread].accepted.append(message.id)
        if thread not in self.active:
            self._enqueue(thread)

    def _enqueue(self, thread: str) -> None:
        messages = self.mailboxes[thread].messages
        self.ready.append(Entry(thread, messages[0].author if messages else ""))

    def _correct(self, message: Message, edited: float) -> str:
        known, mailbox = self.facts.get(message.id), self.mailboxes[str(message.thread)]
        if known is None or (known.silent and message.addressed):
            return self._put(message, edited)
        if known.withdrawn:
            return "ignored"
        if known.edited >= edited:
            return "duplicate"
        known.edited = edited
        for place, waiting in enumerate(mailbox.waiting):
            if waiting.id == message.id:
                mailbox.waiting[place] = message
                return "replaced"
        if mailbox.answered != message.id and not (mailbox.task and message.id in mailbox.task.ids):
            return "ignored"
        self._accept(replace(message, id=f"{message.id}:edit:{edited}", corrects=message.id), NEVER)
        return "corrected"

    def _withdraw(self, id: str) -> str:
        """Withdraw a message and its corrections, as far as they are unanswered."""
        known = self.facts.setdefault(id, MessageFacts())
        known.withdrawn, known.silent = True, False
        return self._take_out(id, known.thread, "withdrawn") if known.thread else "ignored"

    def _take_out(self, id: str, thread: str, reason: Reason, by: str = "") -> str:
        mailbox = self.mailboxes[thread]
        is_theirs = reason == "withdrawn" or self._is_theirs(self.facts[id].author, by)
        found = [each for each in mailbox.waiting if id in (each.id, each.corrects)]
        for each in found if is_theirs else []:
            mailbox.remove(each)
        task = mailbox.task
        is_asked = task and any(id in (each.id, each.corrects) for each in task.messages)
        # another author may still wait for the answer
        may_end = task and (
            all(map(self._is_withdrawn, task.messages))
            if reason == "withdrawn"
            else is_theirs or any(self._is_theirs(each.author, by) for each in task.messages)
        )
        if task and is_asked and may_end:
            self._end(thread, task, reason)
            return "stopped"
        if not is_theirs and (found or is_asked):
            return "refused"
        return "removed" if found else "ignored"

    def _is_theirs(self, author: str, by: str) -> bool:
        return by in (author, self.overruler)

    def _is_withdrawn(self, message: Message) -> bool:
        return self.facts[message.corrects or message.id].withdrawn

    def _end(self, thread: str, task: Task, reason: Reason) -> None:
        task.stopped = task.stopped or reason
        if thread in self.later:
            self.later[thread] = 0

    def _stop(self, stop: Stop) -> str:
        if stop.thread is not None:
            outcome = self._stop_thread(str(stop.thread), stop.by)
        elif stop.message_id:
            outcome = self._stop_message(stop.message_id, stop.by)
        else:
            by = {
                thread
                for thread, mailbox in self.mailboxes.items()
                if any(message.author == stop.by for message in mailbox.messages)
            }
            outcomes = {self._stop_thread(each, stop.by) for each in by}
            # only decisions of theirs wait, which are always carried out
            none = "refused" if "refused" in outcomes else "idle"
            outcome = "stopped" if outcomes & {"removed", "stopped"} else none
        return {"removed": "stopped", "ignored": "idle"}.get(outcome, outcome)

    def _stop_thread(self, thread: str, by: str) -> str:
        mailbox = self.mailboxes[thread]
        if not mailbox.messages:
            return "idle"
        if mailbox.task is None and self._is_theirs(mailbox.waiting[0].author, by):
            own = list(takewhile(lambda each: self._is_theirs(each.author, by), mailbox.waiting))
            others, mailbox.waiting = mailbox.waiting[len(own) :], own
            mailbox.fix()
            mailbox.waiting += others
        gone = [each for each in mailbox.waiting if not each.decision and self._is_theirs(each.author, by)]
        for message in gone:
            mailbox.remove(message)
        if mailbox.task and any(self._is_theirs(each.author, by) for each in mailbox.task.messages):
            self._end(thread, mailbox.task, "stop")
            return "stopped"
        return "removed" if gone else "refused"

    def _stop_message(self, id: str, by: str) -> str:
        known = self.facts.get(id, MessageFacts())
        return self._take_out(id, known.thread, "stop", by) if known.thread else "idle"

    def take(self, worker: str, count: int) -> list[Entry]:
        """Lease free threads, the longest waiting first."""
        return self._lease(worker, [entry for entry in self.ready if not entry.holder][:count])

    def take_over(self, worker: str) -> list[Entry]:
        """Lease threads whose leases have expired."""
        return self._lease(worker, [entry for entry in self.ready if entry.expired])

    def take_back(self, worker: str, earlier: list[str]) -> list[Entry]:
        """Lease the threads of the worker's earlier runs."""
        return self._lease(worker, [entry for entry in self.ready if entry.holder in earlier])

    def _lease(self, worker: str, entries: list[Entry]) -> list[Entry]:
        for entry in entries:
            entry.holder, entry.expired = worker, False
        return entries

    def leases_of(self, worker: str) -> list[Entry]:
        """Return the leases of a worker."""
        return [entry for entry in self.ready if entry.holder == worker]

    def renew(self, worker: str) -> None:
        """Renew the worker's leases."""
        for entry in self.leases_of(worker):
            entry.expired = False

    def begin(self, entry: Entry) -> Task | None:
        """Start the next attempt at the turn; return None if nothing waits."""
        mailbox = self.mailboxes[entry.thread]
        if not mailbox.messages:
            self.ready.remove(entry)
            return None
        entry.expired = False
        task = mailbox.fix()
        task.attempts += 1
        task.crashed = task.running and task.runner != entry.holder
        task.running, task.runner = True, entry.holder
        task.crashes += task.crashed
        return task

    def hang(self, worker: str, culprit: Entry) -> None:
        """Let the worker die of a hang, which counts for one of its turns and as no crash of the others."""
        task = self.task_of(culprit)
        task.hangs += 1
        for mailbox in self.mailboxes.values():
            if mailbox.task and mailbox.task is not task and mailbox.task.runner == worker:
                mailbox.task.running = False

    def keep(self, entry: Entry, receipt: Mapping[str, Json]) -> None:
        """Store the receipt."""
        self.task_of(entry).receipt = receipt

    def finish(self, entry: Entry, dead: str) -> None:
        """Finish the turn, or give it up for the reason `dead`; requeue waiting messages."""
        mailbox, messages = self.mailboxes[entry.thread], self.task_of(entry).messages
        if dead:
            self.dead += [Dead(entry.thread, message, dead) for message in messages]
        mailbox.task, mailbox.answered = None, messages[-1].corrects or messages[-1].id
        for each in messages:
            mailbox.behind_gap.pop(each.id, None)
        self.ready.remove(entry)
        if mailbox.waiting:
            self._enqueue(entry.thread)

    def postpone(self, entry: Entry, due: float, *, error: str, failed: bool) -> None:
        """Retry the turn at `due`."""
        task = self.task_of(entry)
        task.running, task.error = False, error
        task.failures += failed
        self.ready.remove(entry)
        self.later[entry.thread] = due

    def task_of(self, entry: Entry) -> Task:
        """Return the running turn."""
        task = self.mailboxes[entry.thread].task
        assert task is not None
        assert task.running
        return task

    def wake(self, now: float) -> int:
        """Make threads ready again that were postponed until `now`."""
        due = sorted((at, thread) for thread, at in self.later.items() if at <= now)
        for _, thread in due:
            del self.later[thread]
            self._enqueue(thread)
        return len(due)

    def hand_over(self, worker: str) -> int:
        """Release the worker's leases; its turns did not crash."""
        mine = self.leases_of(worker)
        for entry in mine:
            task = self.mailboxes[entry.thread].task
            if task and task.runner == worker:
                task.running = False
            self.ready.remove(entry)
            self._enqueue(entry.thread)
        return len(mine)

    def replay(self, dead: Dead) -> None:
        """Replay a dead letter, behind a gap; its known edits still count."""
        self.dead.remove(dead)
        again = replace(dead.message, replays=dead.message.replays + 1)
        self._accept(again, self.facts[again.id].edited)
        self.mailboxes[str(again.thread)].behind_gap[again.id] = 0
