"""The inbox against its model: random steps, taken by the real scripts in a real Redis and by the model.

Several processes take turns at it: they restart under their name, vanish, and come back as ghosts after their
leases were lost. Time passes where a rule says so. After each step Redis must hold what the model
(`tests/support/inbox_model.py`) says; in the end one good worker drains all, and then every message that was
accepted and that nobody took back was in exactly one turn, in order, and nothing without an expiry is left
behind.

The suite tries the same examples in every run. To search for new ones, for minutes::

    HYPOTHESIS_PROFILE=search .venv/bin/python -m pytest tests/test_inbox_model.py

A failure is printed as the shortest program of steps that was found to show it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bot.chat import FollowUp, LeaseLost, ThreadEvent, Turn
from bot.inbox import Inbox, keys, note_hang, queries
from bot.inbox.fence import use_fence
from bot.inbox.keys import text
from bot.inbox.lease import Lease, TurnStart
from tests.support.inbox import Desk
from tests.support.inbox_contents import expected, stored
from tests.support.inbox_events import DECISION, DELETION, EDIT, MESSAGE, STOP
from tests.support.inbox_machine import Claim, Machine, Worker, sync
from tests.support.inbox_model import LATE, LEASE_MS, Dead, Entry

NAMES = ("one", "two")
WITHOUT_EXPIRY = ("{bot}:ready", "{bot}:dead", "{bot}:threads:")
"""What stays: one key for the deployment, each platform."""


class InboxMachine(Machine):
    """Takes each step twice, on the real inbox and on the model, and compares."""

    async def open(self) -> None:
        await super().open()
        for name in NAMES:
            await self.start(name)

    def teardown(self) -> None:
        """Drain what is left, unless a step has failed: then this would only hide it."""
        try:
            if not self.failed:
                self.run(self.drain())
        finally:
            self.runner.run(self.stack.aclose())
            self.runner.close()

    # People

    @rule(event=MESSAGE)
    @sync
    async def put_message(self, event: ThreadEvent) -> None:
        await self.put(event)

    @rule(event=MESSAGE | DECISION, data=st.data())
    @sync
    async def put_where_a_turn_is_free(self, event: ThreadEvent, data: st.DataObject) -> None:
        """The worker leases the thread that waits for longest, and begins at once if it is this one."""
        worker = data.draw(st.sampled_from(self.workers))
        desk, before = Desk(worker.id), len(self.model.ready)
        with worker.inbox.open_desk(desk):
            assert await worker.inbox.put(event) == self.model.put(event)
        assert not desk.is_reserved
        assert bool(desk.lease) == (len(self.model.ready) > before)
        if desk.lease:
            newest = self.model.ready[-1]
            [entry] = self.model.take(worker.id, 1)
            self.claim(worker, [desk.lease], [entry])
            assert bool(desk.begun) == (entry is newest)
            if desk.begun:
                self.check_start(self.claims[-1], await worker.inbox.read_start(desk.lease, desk.begun))

    @rule(event=EDIT)
    @sync
    async def put_edit(self, event: ThreadEvent) -> None:
        await self.put(event)

    @rule(event=DECISION)
    @sync
    async def put_decision(self, event: ThreadEvent) -> None:
        await self.put(event)

    @rule(event=DELETION)
    @sync
    async def put_deletion(self, event: ThreadEvent) -> None:
        await self.put(event)

    @rule(event=STOP)
    @sync
    async def put_stop(self, event: ThreadEvent) -> None:
        await self.put(event)

    @rule(policy=st.sampled_from(("always", "partner", "mention")))
    def change_policy(self, policy: FollowUp) -> None:
        self.policy.follow_up = self.model.policy = policy

    async def put(self, event: ThreadEvent) -> None:
        assert await self.door.put(event) == self.model.put(event)

    # Processes

    @rule(name=st.sampled_from(NAMES))
    @sync
    async def restart(self, name: str) -> None:
        """The earlier self is dead, or will be a ghost."""
        await self.start(name)

    async def start(self, name: str) -> Worker:
        earlier = [worker for worker in self.workers if worker.name == name]
        inbox = Inbox(self.redis, name=name, follow_days=30, channels=self.policy)
        worker = Worker(name, len(earlier) + 1, inbox)
        self.workers.append(worker)
        leases = await worker.inbox.enter()
        self.claim(worker, leases, self.model.take_back(worker.id, [each.id for each in earlier]))
        return worker

    def claim(self, worker: Worker, leases: list[Lease], entries: list[Entry]) -> None:
        """The worker was given these leases; one that it has already is the same."""
        assert sorted(lease.thread for lease in leases) == sorted(entry.thread for entry in entries)
        for entry in entries:
            (lease,) = (lease for lease in leases if lease.thread == entry.thread)
            known = [each.lease for each in self.claims if (each.worker, each.entry) == (worker, entry)]
            assert known in ([], [lease])
            if not known:
                self.claims.append(Claim(worker, lease, entry))

    @precondition(lambda self: any(not entry.holder for entry in self.model.ready))
    @rule(data=st.data(), most=st.integers(1, 3))
    @sync
    async def take(self, data: st.DataObject, most: int) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        leases = await worker.inbox.lease(most, 1)
        entries = self.model.take(worker.id, most)
        assert [lease.thread for lease in leases] == [entry.thread for entry in entries]
        self.claim(worker, leases, entries)

    @precondition(lambda self: self.holders())
    @rule(data=st.data())
    @sync
    async def outlive_leases(self, data: st.DataObject) -> None:
        """A process vanishes, or stands still for longer than a lease."""
        await self.expire(data.draw(st.sampled_from(self.holders())))

    async def expire(self, worker: Worker) -> None:
        entries = self.model.leases_of(worker.id)
        leases: list[Any] = [claim.lease.entry for claim in self.live() if claim.worker is worker]
        await self.redis.xclaim(keys.READY, keys.GROUP, worker.id, 0, leases, idle=2 * LEASE_MS, justid=True)
        for entry in entries:
            entry.expired = True

    @precondition(lambda self: self.holders())
    @rule(data=st.data())
    @sync
    async def take_over(self, data: st.DataObject) -> None:
        """Only what was not renewed in time."""
        worker = data.draw(st.sampled_from(self.workers))
        self.claim(worker, await worker.inbox.take_over(LEASE_MS, 10), self.model.take_over(worker.id))

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    @sync
    async def renew(self, data: st.DataObject) -> None:
        """Of all that the worker believes to run, it is told what it has lost."""
        worker = data.draw(st.sampled_from(self.workers))
        mine = [claim for claim in self.claims if claim.worker is worker]
        turns = {claim.lease: claim.turn.id if claim.turn else "" for claim in mine}
        lost, stopped = await worker.inbox.renew(turns)
        self.model.renew(worker.id)
        assert lost == [claim.lease for claim in mine if claim not in self.live()]
        tasks = [self.model.task_of(claim.entry) for claim in self.running() if claim.worker is worker]
        assert stopped == {task.ids[0] for task in tasks if task.stopped}

    @precondition(lambda self: self.holders())
    @rule(data=st.data())
    @sync
    async def hand_over(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.holders()))
        assert await worker.inbox.hand_over() == self.model.hand_over(worker.id)

    @precondition(lambda self: self.model.later)
    @rule(late=st.booleans())
    @sync
    async def wake(self, late: bool) -> None:
        await self.wake_up(late)

    async def wake_up(self, late: bool) -> None:
        if late:
            for thread in self.model.later:
                self.model.later[thread] = 0
                await self.redis.zadd(keys.LATER, {thread: 0}, xx=True)
        assert await self.door.wake() == self.model.wake(LATE - 1)

    # Turns

    @precondition(lambda self: self.to_begin())
    @rule(data=st.data())
    @sync
    async def begin(self, data: st.DataObject) -> None:
        await self.begin_turn(data.draw(st.sampled_from(self.to_begin())))

    async def begin_turn(self, claim: Claim) -> None:
        self.check_start(claim, await claim.worker.inbox.begin(claim.lease, idle_ms=LEASE_MS))

    def check_start(self, claim: Claim, begun: TurnStart | None) -> None:
        task = self.model.begin(claim.entry)
        if begun is None or task is None:
            assert begun is None
            assert task is None
            return
        claim.turn = begun.turn
        behind_gap = self.model.mailboxes[claim.entry.thread].behind_gap
        assert begun == TurnStart(
            Turn(
                id=task.ids[0],
                thread=task.messages[0].thread,
                messages=task.messages,
                gaps={id: at for id, at in behind_gap.items() if id in task.ids},
                attempt=task.attempts,
                failures=task.failures,
                crashes=task.crashes,
                hangs=task.hangs,
            ),
            dict(task.receipt),
            task.crashed,
            task.stopped,
            task.error,
        )

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    @sync
    async def hang(self, data: st.DataObject) -> None:
        """The event loop hangs in a turn: its process notes that, dies and is started again."""
        claim = data.draw(st.sampled_from(self.running()))
        worker = claim.worker
        await note_hang(self.redis, worker.inbox, f"turn:{claim.begun.id}")
        self.model.hang(worker.id, claim.entry)
        await self.start(worker.name)

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    @sync
    async def keep(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.running()))
        receipt = {"shown": next(self.moments)}
        await claim.worker.inbox.keep(claim.lease, claim.begun, receipt)
        self.model.keep(claim.entry, receipt)

    @precondition(lambda self: self.running())
    @rule(data=st.data(), seconds=st.sampled_from((0, 3600)), failed=st.booleans())
    @sync
    async def postpone(self, data: st.DataObject, seconds: int, failed: bool) -> None:
        claim = data.draw(st.sampled_from(self.running()))
        moment = next(self.moments)
        await claim.worker.inbox.postpone(
            claim.lease, claim.begun, seconds, error=f"error {moment}", failed=failed
        )
        due = LATE + moment if seconds else moment
        self.model.postpone(claim.entry, due, error=f"error {moment}", failed=failed)

    @precondition(lambda self: self.running())
    @rule(data=st.data(), dead=st.sampled_from(("", "a bug")))
    @sync
    async def finish(self, data: st.DataObject, dead: str) -> None:
        await self.finish_turn(data.draw(st.sampled_from(self.running())), dead)

    async def finish_turn(self, claim: Claim, dead: str = "") -> None:
        turn = claim.begun
        await claim.worker.inbox.finish(claim.lease, turn, dead)
        self.model.finish(claim.entry, dead)
        self.settled[claim.lease.thread] += [message.id for message in turn.messages]

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    @sync
    async def write(self, data: st.DataObject) -> None:
        """Write something beside the inbox, as a turn does with its checkpoint."""
        claim = data.draw(st.sampled_from(self.running()))
        with use_fence(claim.worker.inbox.fence(claim.lease)):
            assert await self.fenced.set("checkpoint", str(claim), ex=LEASE_MS)
        assert text(await self.redis.get("checkpoint") or b"") == str(claim)

    @precondition(lambda self: self.ghosts())
    @rule(data=st.data())
    @sync
    async def write_as_a_ghost(self, data: st.DataObject) -> None:
        """Whoever lost the lease is told so whatever it tries, and changes nothing."""
        robbed = [claim for claim in self.ghosts() if claim.entry in self.model.ready]
        claim = data.draw(st.sampled_from(robbed or self.ghosts()))
        inbox, lease, turn = claim.worker.inbox, claim.lease, claim.begun
        before = await self.dump()
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: inbox.begin(lease),
            lambda: inbox.keep(lease, turn, {"shown": "by a ghost"}),
            lambda: inbox.postpone(lease, turn, 0, error="of a ghost", failed=True),
            lambda: inbox.finish(lease, turn),
            lambda: inbox.finish(lease, turn, "given up by a ghost"),
            lambda: inbox.finish(lease, turn, receipt={"answer": "of a ghost"}),
            lambda: self.fenced.set("checkpoint", "of a ghost"),
            lambda: self.delete_in_a_pipeline("checkpoint"),
        ]
        for attempt in attempts:
            with use_fence(inbox.fence(lease)), pytest.raises(LeaseLost):
                await attempt()
        assert await inbox.renew({lease: turn.id}) == ([lease], set())
        assert await self.dump() == before

    # The operator

    @precondition(lambda self: self.model.dead)
    @rule(data=st.data())
    @sync
    async def replay(self, data: st.DataObject) -> None:
        dead, entry = await self.a_dead_one(data)
        assert await queries.replay(self.redis, entry)
        assert not await queries.replay(self.redis, entry)
        self.model.replay(dead)

    @precondition(lambda self: self.model.dead)
    @rule(data=st.data())
    @sync
    async def drop(self, data: st.DataObject) -> None:
        dead, entry = await self.a_dead_one(data)
        assert await queries.drop(self.redis, entry)
        self.model.dead.remove(dead)

    async def a_dead_one(self, data: st.DataObject) -> tuple[Dead, str]:
        place = data.draw(st.sampled_from(range(len(self.model.dead))))
        return self.model.dead[place], (await queries.dead(self.redis))[place].entry

    # What always holds

    @invariant()
    @sync
    async def redis_holds_what_the_model_says(self) -> None:
        assert await stored(self.redis, self.model) == expected(self.model)

    # The end

    async def drain(self) -> None:
        """One good worker does what is left."""
        good = await self.start("good")
        for worker in self.holders():
            await self.expire(worker)
        await self.wake_up(late=True)
        self.claim(good, await good.inbox.take_over(LEASE_MS, 10), self.model.take_over(good.id))
        while self.model.ready:
            if any(not entry.holder for entry in self.model.ready):
                self.claim(good, await good.inbox.lease(10, 1), self.model.take(good.id, 10))
            for claim in self.to_begin():
                await self.begin_turn(claim)
            for claim in self.running():
                await self.finish_turn(claim)
        self.check_ledger()
        await self.check_leaks()

    def check_ledger(self) -> None:
        """Nothing lost, nothing twice, all in order."""
        for thread, known in self.model.mailboxes.items():
            assert self.settled[thread] == known.accepted

    async def check_leaks(self) -> None:
        assert await self.redis.xlen(keys.READY) == 0
        async for key in self.redis.scan_iter():
            if not text(key).startswith(WITHOUT_EXPIRY):
                assert await self.redis.ttl(key) > 0, key


@pytest.mark.timeout(5 * settings().max_examples)
def test_the_inbox_does_what_its_model_does(redis_url: str) -> None:
    """Every program of steps that hypothesis thinks of."""

    class OnOurRedis(InboxMachine):
        url = redis_url

    # no `explain`: it takes minutes and names lines of this file
    phases = (Phase.reuse, Phase.generate, Phase.shrink)
    run_state_machine_as_test(
        OnOurRedis, settings=settings(stateful_step_count=50, phases=phases, report_multiple_bugs=False)
    )
