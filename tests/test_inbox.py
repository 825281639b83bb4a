"""The inbox against a real Redis: order, one turn at a time, nothing lost, nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import (
    Halt,
    LeaseLost,
    RateLimited,
    Receipt,
    Turn,
    Undeliverable,
    Unreachable,
)
from bot.inbox import (
    Inbox,
    Lookup,
    Work,
    inbox_health,
    note_hang,
    queries,
    serve,
)
from bot.inbox.hangs import MAX_HANGS
from bot.inbox.keys import DEAD
from bot.inbox.lease import Lease
from bot.inbox.retries import MAX_FAILURES, MUTE_AFTER
from tests.support.inbox import a_message, an_inbox
from tests.support.wait import wait_until


async def a_lease(inbox: Inbox) -> Lease:
    leases = await inbox.enter() + await inbox.lease(1, 1)
    return leases[0]


@asynccontextmanager
async def serving(
    redis: Redis,
    inbox: Inbox,
    work: Work,
    *,
    lease_seconds: float = 1.0,
    limit: int = 10,
    grace: float = 5,
    max_failures: int = MAX_FAILURES,
) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with Lookup(redis).news("stop") as stops, asyncio.TaskGroup() as group:
        group.create_task(
            serve(
                inbox,
                work,
                limit=limit,
                lease_seconds=lease_seconds,
                grace=grace,
                stop=stop,
                stops=stops,
                max_failures=max_failures,
            )
        )
        try:
            yield
        finally:
            stop.set()


class Recorder:
    """A worker that notes what it is given, and does what the test says first."""

    def __init__(self, act: Callable[[Turn], Awaitable[None]] | None = None) -> None:
        self.turns: list[Turn] = []
        self.texts: list[list[str]] = []
        self._act = act

    async def __call__(self, turn: Turn, receipt: Receipt, halt: Halt) -> None:
        self.turns.append(turn)
        if self._act:
            await self._act(turn)
        self.texts.append([message.text for message in turn.messages])


async def test_put_keeps_a_message_once(redis: Redis) -> None:
    """A redelivery with the same id is a no-op."""
    inbox = an_inbox(redis)
    assert await inbox.put(a_message("hello")) == "kept"
    assert await inbox.put(a_message("hello")) == "duplicate"


async def test_put_ignores_what_is_not_addressed_until_the_thread_is_joined(redis: Redis) -> None:
    """A plain message counts only in a thread where the bot was addressed before."""
    inbox = an_inbox(redis)
    assert await inbox.put(a_message("gossip", addressed=False)) == "ignored"
    assert await inbox.put(a_message("bot, please")) == "kept"
    assert await inbox.put(a_message("and also", addressed=False)) == "kept"
    assert await inbox.put(a_message("gossip", addressed=False)) == "kept"


async def test_messages_survive_storage_unchanged(redis: Redis) -> None:
    """A worker is given the message that was put."""
    message = replace(a_message("grüße 🎉\n\u0000"), channel="C1", place={"ts": "1.1"}, sent_at=1700000000.25)
    inbox = an_inbox(redis)
    await inbox.put(message)
    begun = await inbox.begin(await a_lease(inbox))
    assert begun is not None
    assert begun.turn.messages == (message,)


async def test_messages_that_wait_become_one_turn(redis: Redis) -> None:
    """Everything that waits when a turn begins belongs to it, in order; what comes later is the next turn."""
    inbox = an_inbox(redis)
    recorder = Recorder()
    for text in ("one", "two"):
        await inbox.put(a_message(text))
    async with serving(redis, inbox, recorder):
        await wait_until(lambda: len(recorder.texts) == 1, "first turn")
        await inbox.put(a_message("three"))
        await wait_until(lambda: len(recorder.texts) == 2, "second turn")
    assert recorder.texts == [["one", "two"], ["three"]]


async def test_a_second_attempt_has_the_same_messages(redis: Redis) -> None:
    """A message between two attempts is not merged into the turn that is already half shown."""
    inbox = an_inbox(redis)
    await inbox.put(a_message("one"))
    lease = await a_lease(inbox)
    first = await inbox.begin(lease)
    await inbox.put(a_message("two"))
    assert first is not None
    await inbox.postpone(lease, first.turn, 0)
    await inbox.wake()
    second = await inbox.begin((await inbox.lease(1, 1))[0])
    assert second is not None
    assert [first.turn.attempt, second.turn.attempt] == [1, 2]
    assert second.turn.messages == first.turn.messages
    assert second.turn.id == first.turn.id


async def test_turns_of_a_thread_never_overlap_and_threads_run_side_by_side(redis: Redis) -> None:
    """With two workers, each thread has one turn at a time while other threads go on."""
    running: set[str] = set()
    overlaps: list[str] = []
    most = 0
    answered: list[str] = []

    async def work(turn: Turn, receipt: Receipt, halt: Halt) -> None:
        nonlocal most
        thread = turn.thread.channel
        overlaps.extend({thread} & running)
        running.add(thread)
        most = max(most, len(running))
        await asyncio.sleep(0)
        await receipt.save(seen=True)
        running.discard(thread)
        answered.extend(message.id for message in turn.messages)

    one, two = an_inbox(redis, "one"), an_inbox(redis, "two")
    async with serving(redis, one, work), serving(redis, two, work):
        for number in range(20):
            await asyncio.gather(*(one.put(a_message(str(number), f"t{thread}")) for thread in range(5)))
        await wait_until(lambda: len(answered) >= 100, "all answered")
    assert not overlaps
    assert most > 1
    assert len(set(answered)) == len(answered) == 100
    for thread in range(5):
        numbers = [int(each.rsplit(":", 1)[1]) for each in answered if f":t{thread}:" in each]
        assert numbers == list(range(20))


async def test_receipt_is_given_to_the_next_attempt(redis: Redis) -> None:
    """The second attempt knows the receipt of the first, and can finish its answer."""
    receipts: list[dict[str, str]] = []

    async def work(turn: Turn, receipt: Receipt, halt: Halt) -> None:
        receipts.append(dict(receipt.state))
        await receipt.save(ts="1700.1")
        if turn.attempt == 1:
            raise Unreachable("the service is away")

    inbox = an_inbox(redis)
    await inbox.put(a_message("hello"))
    async with serving(redis, inbox, work, lease_seconds=0.5):
        await wait_until(lambda: len(receipts) == 2, "second attempt")
    assert receipts == [{}, {"ts": "1700.1"}]


async def test_rate_limit_is_waited_for_as_long_as_the_service_asks(redis: Redis) -> None:
    """The turn stays postponed until its time, and is not lost."""
    inbox = an_inbox(redis)

    async def limited(turn: Turn) -> None:
        raise RateLimited("slow down", retry_after=3600)

    recorder = Recorder(limited)
    await inbox.put(a_message("hello"))
    async with serving(redis, inbox, recorder):
        await wait_until(lambda: _postponed(redis), "postponed")
    assert len(recorder.turns) == 1


async def _postponed(redis: Redis) -> bool:
    return bool((await inbox_health(redis)).evidence["postponed"])


async def test_undeliverable_reply_ends_the_turn(redis: Redis) -> None:
    """A reply that can never be shown is not tried again; its message is kept for an operator."""
    inbox = an_inbox(redis)

    async def gone(turn: Turn) -> None:
        raise Undeliverable("the channel is gone")

    recorder = Recorder(gone)
    await inbox.put(a_message("hello"))
    async with serving(redis, inbox, recorder):
        await wait_until(lambda: len(recorder.turns) == 1, "tried")
        await wait_until(lambda: _holds(redis, dead=1), "given up")
    assert len(recorder.turns) == 1
    (dead,) = await queries.dead(redis)
    assert dead.reason.startswith("the reply cannot be shown: the channel is gone (reference ")


async def _holds(redis: Redis, *, dead: int) -> bool:
    """Return whether the inbox holds nothing but so many dead messages."""
    evidence = (await inbox_health(redis)).evidence
    return dict(evidence) == {"waiting": 0, "running": 0, "postponed": 0, "dead": dead}


async def test_turn_that_always_fails_is_kept_for_an_operator(redis: Redis) -> None:
    """After the last attempt its messages are in `dead`, and the thread's next message is answered."""
    inbox = an_inbox(redis)

    async def fail(turn: Turn) -> None:
        if turn.messages[0].text == "poison":
            raise RuntimeError("always")

    recorder = Recorder(fail)
    async with serving(redis, inbox, recorder, max_failures=1):
        await inbox.put(a_message("poison"))
        await wait_until(lambda: len(recorder.turns) == 1, "poison tried")
        await inbox.put(a_message("fine"))
        await wait_until(lambda: recorder.texts == [["fine"]], "the next one answered")
    assert (await inbox_health(redis)).evidence["dead"] == 1


async def test_the_number_of_starts_is_forgotten_after_the_process_and_not_before(redis: Redis) -> None:
    """Fault: Redis grew by a key for each name that a process ever had."""
    inbox = an_inbox(redis)
    async with serving(redis, inbox, Recorder(), lease_seconds=0.1):
        await wait_until(lambda: _has_begun(redis), "it has begun")
        assert await redis.ttl("{bot}:starts:one") > 0
        await redis.expire("{bot}:starts:one", 60)
        await wait_until(lambda: _lives_long(redis), "it is kept while the process lives")


async def _has_begun(redis: Redis) -> bool:
    return bool(await redis.exists("{bot}:starts:one"))


async def _lives_long(redis: Redis) -> bool:
    return int(await redis.ttl("{bot}:starts:one")) > 60


async def test_health_says_what_to_do_about_more_dead_messages_than_anybody_reads(redis: Redis) -> None:
    """Fault: Redis fills with what was given up, and nobody is told."""
    async with redis.pipeline() as step:
        for _ in range(queries.MANY_DEAD):
            step.xadd(DEAD, {"id": "1", "thread": "t", "reason": "a bug", "message": "{}"})
        await step.execute()
    assert "hint" not in (await inbox_health(redis)).evidence
    await redis.xadd(DEAD, {"id": "1", "thread": "t", "reason": "a bug", "message": "{}"})
    told = await inbox_health(redis)
    assert told.state == "degraded"
    assert "replay or drop" in told.evidence["hint"]


async def _die_of_hangs(redis: Redis, count: int, culprit: str, *beside: str) -> None:
    """Let so many processes hang in the turn of one message, while others run beside it."""
    for _ in range(count):
        inbox = an_inbox(redis)
        leases = await inbox.enter() + await inbox.lease(1 + len(beside), 1)
        begun = [await inbox.begin(lease) for lease in leases]
        assert len(begun) == 1 + len(beside)
        await note_hang(redis, inbox, f"turn:{culprit}")


@pytest.mark.parametrize("count", [MAX_HANGS, MAX_HANGS + 1])
async def test_a_turn_that_hung_twice_is_given_up_with_a_word_and_its_neighbour_is_not(
    redis: Redis, count: int
) -> None:
    """The neighbour counts no crash, however many turns have hung beside it.

    Fault: a third hang, of an attempt that was paused and had lost its lease, ended the turn without a word.
    """
    poison, neighbour = a_message("poison"), a_message("fine", "t2")
    inbox = an_inbox(redis)
    for message in (poison, neighbour):
        await inbox.put(message)
    await _die_of_hangs(redis, count, poison.id, neighbour.id)
    endings: dict[str, str] = {}

    async def work(turn: Turn, receipt: Receipt, halt: Halt) -> None:
        endings[turn.messages[0].text] = halt.result() if halt.done() else "answered"

    async with serving(redis, an_inbox(redis), work):
        await wait_until(lambda: len(endings) == 2, "both have ended")
    assert endings["fine"] == "answered"
    assert endings["poison"].startswith("I stopped responding twice while working on this, so I gave up.")
    assert await redis.hget(f"{{bot}}:turn:{neighbour.id}", "crashes") == b"0"
    assert [each.reason.split(" (")[0] for each in await queries.dead(redis)] == [
        f"the process hung {count} times during this turn"
    ]


class _Deaf(Redis):
    """A client that may send a command, and never hear the answer."""

    is_deaf = False

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        answer = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py
        if self.is_deaf:
            await asyncio.Event().wait()
        return answer


@pytest.mark.parametrize(("work", "crashes"), [("turn:test:t1:poison", 1), ("event:slack:1", 0)])
async def test_a_hang_counts_for_its_cause_alone(redis: Redis, work: str, crashes: int) -> None:
    """Not for a turn beside it, nor for one that Redis has begun while the loop was silent.

    Fault: the latter counted a crash, and a hang in an event was a crash of every turn.
    """
    deaf = _Deaf(connection_pool=redis.connection_pool)
    inbox = an_inbox(deaf)
    for message in (a_message("poison"), a_message("fine", "t2"), a_message("begun", "t3")):
        await inbox.put(message)
    *under_way, last = await inbox.enter() + sorted(await inbox.lease(3, 1), key=lambda lease: lease.thread)
    assert all([await inbox.begin(lease) for lease in under_way])
    deaf.is_deaf = True
    beginning = asyncio.create_task(inbox.begin(last))
    await wait_until(lambda: redis.hexists("{bot}:turn:test:t3:begun", "running"), "Redis has begun it")
    await note_hang(redis, inbox, work)
    beginning.cancel()
    later = an_inbox(redis)
    turns = [begun.turn for lease in await later.enter() if (begun := await later.begin(lease))]
    assert {turn.messages[0].text: turn.crashes for turn in turns} == {
        "poison": crashes,
        "fine": 0,
        "begun": 0,
    }


async def test_a_service_that_is_busy_is_told_again_that_a_turn_is_given_up(redis: Redis) -> None:
    """Fault: the limit of posts a minute was reached, and the turn ended without a word."""
    poison = a_message("poison")
    await an_inbox(redis).put(poison)
    await _die_of_hangs(redis, MAX_HANGS, poison.id)
    endings: list[str] = []

    async def work(turn: Turn, receipt: Receipt, halt: Halt) -> None:
        endings.append(halt.result())
        if len(endings) == 1:
            raise RateLimited("the limit of posts is reached", 0.01)

    async with serving(redis, an_inbox(redis), work):
        await wait_until(lambda: _is_dead(redis), "given up")
    assert len(endings) == 2
    assert endings[1].startswith("I stopped responding twice while working on this, so I gave up.")


async def test_a_turn_that_hangs_even_when_it_says_that_it_is_given_up_ends_without_a_word(
    redis: Redis,
) -> None:
    """Nothing can make the process die for ever."""
    await an_inbox(redis).put(a_message("poison"))
    await _die_of_hangs(redis, MAX_HANGS + MUTE_AFTER, a_message("poison").id)
    recorder = Recorder()
    async with serving(redis, an_inbox(redis), recorder):
        await wait_until(lambda: _is_dead(redis), "given up")
    assert recorder.turns == []


async def test_a_turn_that_kills_the_process_even_when_it_is_given_up_ends_without_a_word(
    redis: Redis,
) -> None:
    """Crashes that nobody can put down to it end it, too."""
    await an_inbox(redis).put(a_message("poison"))
    for _ in range(MAX_FAILURES + MUTE_AFTER):
        inbox = an_inbox(redis)
        await inbox.begin(await a_lease(inbox))
    recorder = Recorder()
    async with serving(redis, an_inbox(redis), recorder):
        await wait_until(lambda: _is_dead(redis), "given up")
    assert recorder.turns == []


async def _is_dead(redis: Redis) -> bool:
    return len(await queries.dead(redis)) == 1


async def test_a_hang_of_a_turn_that_has_ended_is_not_counted(redis: Redis) -> None:
    """A task that outlives its turn still bears its name."""
    inbox = an_inbox(redis)
    await inbox.put(a_message("done"))
    lease = await a_lease(inbox)
    begun = await inbox.begin(lease)
    assert begun
    await inbox.finish(lease, begun.turn)
    await note_hang(redis, inbox, f"turn:{begun.turn.id}")
    assert await redis.hget(f"{{bot}}:turn:{begun.turn.id}", "hangs") is None


async def test_a_hang_under_the_name_of_a_turn_that_has_ended_counts_as_a_crash_of_those_under_way(
    redis: Redis,
) -> None:
    """Fault: it counted for nobody, and a turn that hangs a task of an earlier one did so for ever."""
    inbox = an_inbox(redis)
    done, poison = a_message("done"), a_message("poison", "t2")
    for message in (done, poison):
        await inbox.put(message)
    leases = await inbox.enter() + await inbox.lease(2, 1)
    turns = {lease: begun.turn for lease in leases if (begun := await inbox.begin(lease))}
    (first,) = [lease for lease in leases if turns[lease].id == done.id]
    await inbox.finish(first, turns[first])
    inbox.leave(turns[first])
    await note_hang(redis, inbox, f"turn:{done.id}")
    later = an_inbox(redis)
    (lease,) = await later.enter()
    again = await later.begin(lease)
    assert again
    assert (again.turn.id, again.has_crashed, again.turn.crashes) == (poison.id, True, 1)


async def test_restarted_process_takes_its_own_work_back_at_once(redis: Redis) -> None:
    """A process with the name of a dead one does not wait for the lease to expire."""
    dead = an_inbox(redis)
    await dead.put(a_message("hello"))
    lease = await a_lease(dead)
    recorder = Recorder()
    async with serving(redis, an_inbox(redis), recorder, lease_seconds=3600):
        await wait_until(lambda: recorder.texts == [["hello"]], "taken back")
    with pytest.raises(LeaseLost):
        await dead.finish(lease, recorder.turns[0])


async def test_another_process_takes_over_when_the_lease_expires(redis: Redis) -> None:
    """A worker that dies without a word costs its thread one lease; it can write nothing afterwards."""
    dead = an_inbox(redis, "dead")
    await dead.put(a_message("hello"))
    lease = await a_lease(dead)
    begun = await dead.begin(lease)
    assert begun is not None
    recorder = Recorder()
    async with serving(redis, an_inbox(redis, "alive"), recorder, lease_seconds=0.3):
        await wait_until(lambda: recorder.texts == [["hello"]], "taken over")
    with pytest.raises(LeaseLost):
        await dead.keep(lease, begun.turn, {"ts": "ghost"})
    assert await dead.renew({lease: begun.turn.id}) == ([lease], set())


async def test_a_lost_lease_is_logged_with_its_turn(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """An operator who searches the log for a turn finds that another process took it over."""

    async def lose(turn: Turn) -> None:
        [held] = await redis.xpending_range("{bot}:ready", "workers", "-", "+", 1)
        await redis.xack("{bot}:ready", "workers", held["message_id"])

    inbox = an_inbox(redis)
    async with serving(redis, inbox, Recorder(lose), lease_seconds=30):
        await inbox.put(a_message("hello"))
        await wait_until(lambda: "lease lost, turn abandoned" in caplog.messages, "it is lost")
    [line] = [each.__dict__ for each in caplog.records if each.message.startswith("lease lost")]
    assert (line["thread_id"], line["turn"]) == ("test:space:t1", a_message("hello").id)


class CountingInbox(Inbox):
    """Counts how often leases are renewed."""

    renewals = 0

    async def renew(self, turns: Mapping[Lease, str]) -> tuple[list[Lease], set[str]]:
        self.renewals += 1
        return await super().renew(turns)


async def test_long_turn_keeps_its_lease(redis: Redis) -> None:
    """A turn longer than its lease is renewed: a worker that looks for expired leases leaves it alone."""
    release = asyncio.Event()

    async def wait(turn: Turn) -> None:
        await release.wait()

    slow, other = Recorder(wait), Recorder()
    first = CountingInbox(redis, name="first", follow_days=30)
    async with serving(redis, first, slow, lease_seconds=0.5):
        await first.put(a_message("hello"))
        await wait_until(lambda: len(slow.turns) == 1, "started")
        async with serving(redis, an_inbox(redis, "second"), other, lease_seconds=0.5):
            await wait_until(lambda: first.renewals > 10, "two leases long")
        release.set()
    assert slow.texts == [["hello"]]
    assert not other.turns


async def test_stop_hands_unfinished_turns_over_at_once(redis: Redis) -> None:
    """A turn that outlasts the grace is free for another process, without waiting for a lease."""

    async def never(turn: Turn) -> None:
        await asyncio.Event().wait()

    stuck, recorder = Recorder(never), Recorder()
    inbox = an_inbox(redis, "first")
    async with serving(redis, inbox, stuck, lease_seconds=3600, grace=0):
        await inbox.put(a_message("hello"))
        await wait_until(lambda: len(stuck.turns) == 1, "started")
    async with serving(redis, an_inbox(redis, "second"), recorder, lease_seconds=3600):
        await wait_until(lambda: recorder.texts == [["hello"]], "handed over")


async def test_stop_lets_turns_under_way_finish(redis: Redis) -> None:
    """Within the grace a turn comes to its end."""
    release = asyncio.Event()

    async def finish(turn: Turn) -> None:
        await release.wait()

    recorder = Recorder(finish)
    inbox = an_inbox(redis)
    async with serving(redis, inbox, recorder):
        await inbox.put(a_message("hello"))
        await wait_until(lambda: len(recorder.turns) == 1, "started")
        asyncio.get_running_loop().call_later(0.05, release.set)
    assert recorder.texts == [["hello"]]
    assert await _holds(redis, dead=0)


async def test_worker_survives_a_redis_that_came_back_empty(redis: Redis) -> None:
    """After FLUSHALL the group is made again and new messages are answered."""
    inbox, recorder = an_inbox(redis), Recorder()
    async with serving(redis, inbox, recorder):
        await inbox.put(a_message("before"))
        await wait_until(lambda: recorder.texts == [["before"]], "answered before")
        await redis.flushall()
        await inbox.put(a_message("after"))
        await wait_until(lambda: recorder.texts == [["before"], ["after"]], "answered after")


async def test_message_that_cannot_be_read_does_not_block_its_thread(redis: Redis) -> None:
    """A message of another version that we cannot read goes to `dead`; the next message is answered."""
    inbox, recorder = an_inbox(redis), Recorder()
    await inbox.put(a_message("strange"))
    mailbox = f"{{bot}}:mailbox:{a_message('').thread}"
    await redis.hset(mailbox.replace("mailbox", "messages"), "test:t1:strange", '{"shape": "unknown"}')
    async with serving(redis, inbox, recorder):
        await wait_until(lambda: _dead(redis), "given up")
        await inbox.put(a_message("fine"))
        await wait_until(lambda: recorder.texts == [["fine"]], "the next one answered")


async def _dead(redis: Redis) -> bool:
    return bool((await inbox_health(redis)).evidence["dead"])


async def test_outage_of_a_platform_uses_up_no_attempt(redis: Redis) -> None:
    """A service that is away for long is waited for: its turns are not given up after a few attempts."""
    inbox = an_inbox(redis)

    async def fail_at_first(turn: Turn) -> None:
        if turn.attempt == 1:
            raise Unreachable("away")

    recorder = Recorder(fail_at_first)
    await inbox.put(a_message("hello"))
    async with serving(redis, inbox, recorder, lease_seconds=0.5, max_failures=1):
        await wait_until(lambda: recorder.texts == [["hello"]], "answered in the end")


async def test_process_of_the_same_name_takes_nothing_out_of_reach(redis: Redis) -> None:
    """The latest lease of the earlier self is taken back, too, and no lease is dropped."""
    earlier, later = an_inbox(redis), an_inbox(redis)
    await earlier.enter()
    for number in range(5):
        await earlier.put(a_message("hello", f"t{number}"))
    leases = await earlier.lease(10, 1)
    assert sorted(lease.entry for lease in await later.enter()) == sorted(lease.entry for lease in leases)
    assert [consumer["pending"] for consumer in await redis.xinfo_consumers("{bot}:ready", "workers")] == [5]


async def test_a_draining_worker_takes_nothing_over(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """The leases of a dead process are for those that stay."""
    other = an_inbox(redis, "other")
    await other.enter()
    started, finish = asyncio.Event(), asyncio.Event()

    async def slow(turn: Turn) -> None:
        started.set()
        await finish.wait()

    recorder = Recorder(slow)
    inbox = an_inbox(redis)
    stop = asyncio.Event()
    async with Lookup(redis).news("stop") as stops, asyncio.TaskGroup() as group:
        group.create_task(
            serve(inbox, recorder, limit=10, lease_seconds=0.1, grace=5, stop=stop, stops=stops)
        )
        await inbox.put(a_message("mine", "t1"))
        await started.wait()
        stop.set()
        await wait_until(lambda: "turns draining" in caplog.messages, "it drains")
        await inbox.put(a_message("theirs", "t2"))
        (lease,) = await other.lease(1, 1_000)
        await wait_until(lambda: _is_idle(redis, lease, 300), "the lease has long expired")
        finish.set()
    assert recorder.texts == [["mine"]]


async def test_what_was_leased_when_the_stop_came_is_not_kept_back(redis: Redis) -> None:
    """Nobody here knows of it, since the reading was cut short: another process goes on at once."""
    started, finish = asyncio.Event(), asyncio.Event()

    async def slow(turn: Turn) -> None:
        started.set()
        await finish.wait()

    recorder, other, inbox = Recorder(slow), an_inbox(redis, "other"), an_inbox(redis)
    await other.enter()
    stop = asyncio.Event()
    async with Lookup(redis).news("stop") as stops, asyncio.TaskGroup() as group:
        group.create_task(serve(inbox, recorder, limit=1, lease_seconds=30, grace=5, stop=stop, stops=stops))
        await inbox.put(a_message("mine", "t1"))
        await started.wait()
        await inbox.put(a_message("theirs", "t2"))
        assert len(await inbox.lease(1, 1_000)) == 1  # what the reader took, and was cancelled in
        stop.set()
        (lease,) = await other.lease(1, 2_000)
        assert lease.thread == "test:space:t2"
        finish.set()
    assert recorder.texts == [["mine"]]


async def _is_idle(redis: Redis, lease: Lease, milliseconds: int) -> bool:
    pending: Any = await redis.xpending_range("{bot}:ready", "workers", lease.entry, lease.entry, 1)
    return bool(pending[0]["time_since_delivered"] > milliseconds)


async def test_a_dead_lease_is_found_behind_many_that_live(redis: Redis) -> None:
    """Redis looks at some pending entries at a time."""
    dead, alive, heir = (an_inbox(redis, name) for name in ("dead", "alive", "heir"))
    for inbox in (dead, alive, heir):
        await inbox.enter()
    for number in range(30):
        await alive.put(a_message("hello", f"t{number}"))
    held = await alive.lease(29, 1)
    (lost,) = await dead.lease(1, 1)
    await wait_until(lambda: _is_idle(redis, lost, 100), "idle")
    await alive.renew(dict.fromkeys(held, "turn"))
    assert [each.thread for each in await heir.take_over(100, 1)] == [lost.thread]
