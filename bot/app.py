"""The running bot: platforms that receive events, a worker that answers, and their shutdown order."""

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from bot.access.channels import ChannelStore
from bot.access.requests import Requests
from bot.chat import (
    Correction,
    Decision,
    Departure,
    Event,
    Halt,
    Message,
    Receipt,
    Space,
    SpaceData,
    Stop,
    ThreadEvent,
    Turn,
    Withdrawal,
)
from bot.chat.texts import NOT_THEIRS
from bot.commands import approval_texts
from bot.commands.commands import Commands, recognise_command
from bot.commands.health import HealthChecks
from bot.concurrency.tasks import cancel
from bot.concurrency.watchdog import Watchdog
from bot.config import Settings, summary
from bot.inbox import Inbox, Lookup, serve
from bot.platforms.hooks import Hooks
from bot.platforms.registry import Platforms
from bot.platforms.supervise import keep_up, supervise
from bot.turn import Turns

log = logging.getLogger(__name__)

CLOSE_SECONDS = 6.0
"""Time for a platform to deliver the events that it has received, and to close its connections."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between two rounds of the background tasks."""

    restore: float = 3.0
    """Comparisons with Redis, which may have lost messages."""
    expire: float = 10.0
    """Searches for expired requests."""
    refresh: float = 2.0
    """Looks for settings of channels that another process has changed."""


@dataclass(frozen=True, slots=True)
class Bot:
    """Bot with all parts opened and connected, ready to run."""

    settings: Settings
    platforms: Platforms
    inbox: Inbox
    lookup: Lookup
    requests: Requests
    channels: ChannelStore
    turns: Turns
    hooks: Hooks
    commands: Commands
    check_health: HealthChecks
    watchdog: Watchdog
    spaces: SpaceData
    page: str | None = None
    """Address of the local page, or None if it is not served."""
    intervals: Intervals = Intervals()

    async def warn(self) -> None:
        """Log a warning if the database is unavailable, or Redis may lose data."""
        for part in await self.check_health():
            if part.name in ("redis", "postgres") and part.state != "ok":
                log.warning("dependency degraded", extra={"part": part.name, **part.evidence})

    async def run(self, stop: asyncio.Event, began: float) -> None:
        """Serve until `stop` is set, then shut down in order; `began` is the start time (monotonic seconds).

        Raises `CredentialsRejected` if a platform rejects the credentials.
        """
        await self.lookup.learn_hangs()  # before the first event arrives
        await self.channels.refresh()
        drained = asyncio.Event()
        listeners = self.platforms.listeners
        # outside of the group, which cancels only once: redis-py may swallow that
        seconds = self.platforms.catch_up_seconds
        keepers = [
            asyncio.create_task(keep_up(each, self.deliver, seconds=seconds[each.name])) for each in listeners
        ]
        keepers.append(asyncio.create_task(self.inbox.keep_whole(self.intervals.restore)))
        keepers.append(asyncio.create_task(self.lookup.keep_learning_hangs()))
        keepers.append(asyncio.create_task(self.channels.keep_fresh(self.intervals.refresh)))
        keepers.append(asyncio.create_task(self.requests.keep_expiring(self.intervals.expire)))
        try:
            async with asyncio.TaskGroup() as group:
                receivers = [
                    group.create_task(supervise(each, self.deliver, self.commands)) for each in listeners
                ]
                if "worker" in self.settings.bot_roles:
                    group.create_task(self._work(drained))
                group.create_task(_stop_receiving(stop, [*receivers, *keepers], drained))
                await asyncio.sleep(0)  # each receiver's first step, after which messages are taken
                self._announce(round(time.monotonic() - began, 2))
        finally:
            await cancel(*keepers)

    def _announce(self, seconds: float) -> None:
        """Report that the bot accepts messages; platforms log by themselves when they are connected."""
        names = {each.name for each in self.platforms} & self.settings.bot_roles - {"http"}
        log.info("ready", extra={"seconds": seconds, "page": self.page, "connecting": sorted(names)})
        if self.settings.log_format == "console":
            print(summary(self.settings, self.page), file=sys.stderr, flush=True)  # noqa: T201 - for the person

    async def deliver(self, event: Event) -> None:
        """Put an event into the inbox, as `bot.chat.Deliver` says, and log the outcome (`event taken`)."""
        if isinstance(event, Departure):
            await self.spaces.erase_space(Space(event.platform, event.space))
            log.info("space forgotten", extra={"platform": event.platform, "space": event.space})
            return
        event = recognise_command(event)
        outcome = await self.inbox.put(event)
        match event:
            case Correction():
                edited_at, reason = event.edited_at, approval_texts.QUESTION_EDITED
                await self.requests.withdraw(event.message.id, reason, before=edited_at)
            case Withdrawal():
                await self.requests.withdraw(event.message_id, approval_texts.QUESTION_DELETED)
            case Stop():
                ended = await self.requests.stop(event, in_channel=outcome == "idle")
                if outcome == "refused" and not ended:
                    self._refuse(event)
            case _:
                pass
        log.info("event taken", extra={"kind": type(event).__name__, "outcome": outcome, **_names(event)})

    def _refuse(self, stop: Stop) -> None:
        for each in self.platforms:
            if each.name == stop.by.partition(":")[0]:
                each.refuse_stop(stop, NOT_THEIRS)

    async def _work(self, stop: asyncio.Event) -> None:
        async with self.lookup.news("stop") as stops:
            await serve(
                self.inbox,
                self._run_turn,
                limit=self.settings.max_workers,
                lease_seconds=self.settings.lease_seconds,
                grace=self.settings.shutdown_grace,
                stop=stop,
                stops=stops,
                user_turns=self.settings.user_turns,
                channel_turns=self.settings.channel_turns,
            )

    async def _run_turn(self, turn: Turn, receipt: Receipt, halt: Halt) -> None:
        thread = str(turn.thread)
        with structlog.contextvars.bound_contextvars(
            thread_id=thread, turn=turn.id, platform=turn.thread.platform
        ):
            if self.hooks.is_delivery(turn):
                await self.hooks.run(turn, receipt, halt, self.deliver)
            else:
                await self.turns.run(turn, receipt, halt)


def _names(event: ThreadEvent) -> dict[str, str]:
    """Return the ids of an event for the log."""
    match event:
        case Message():
            return {"thread_id": str(event.thread), "message_id": event.id}
        case Correction():
            return {"thread_id": str(event.message.thread), "message_id": event.message.id}
        case Withdrawal():
            return {"message_id": event.message_id}
        case Decision():
            return {"thread_id": str(event.thread), "request": event.request, "verdict": event.verdict}
        case Stop():
            return {"thread_id": str(event.thread or ""), "message_id": event.message_id}


async def _stop_receiving(
    stop: asyncio.Event, receivers: Sequence[asyncio.Task[None]], drained: asyncio.Event
) -> None:
    await stop.wait()
    log.info("stopping")
    await cancel(*receivers, patience=CLOSE_SECONDS)
    drained.set()
