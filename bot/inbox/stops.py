"""Stops and deletions: a user ends the answer to their own question, never the answer to somebody else's."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from redis.asyncio import Redis

from bot.chat import Message, Outcome, Stop, StopPolicy, StopRefused
from bot.chat.texts import NOT_THEIRS
from bot.inbox import keys, scripts
from bot.inbox.keys import TAG
from bot.inbox.queries import SEEN_SECONDS, unanswered_messages

Reason = Literal["stop", "withdrawn"]
"""Reason why a turn is stopped: a user said so, or deleted the question."""

EARLY_SECONDS = 600
"""Seconds that an early reply waits for its mention, and an early deletion or stop for its message."""


async def is_current(redis: Redis, wordings: Mapping[str, float]) -> bool:
    """Return True if none of these messages was edited or deleted since.

    The values are the times of the edits that are known, as in `Message.edited_at`.
    """
    for id, edited_at in wordings.items():
        edited, withdrawn = await redis.hmget(keys.seen(id), ["edited", "withdrawn"])
        if withdrawn or float(edited or -1) > edited_at:
            return False
    return True


class Stops:
    """Removal of messages and termination of turns, in whichever process they run."""

    def __init__(self, redis: Redis, policy: StopPolicy | None) -> None:
        self._redis = redis
        self._policy = policy
        self._withdraw = redis.register_script(scripts.WITHDRAW)
        self._stop = redis.register_script(scripts.STOP)

    async def withdraw(self, message_id: str) -> Outcome:
        """Take a deleted message out."""
        return await self._withdraw_message(message_id, "withdrawn")

    async def stop(self, stop: Stop) -> int:
        """Stop the turns that `stop` names and return their number.

        Raises `StopRefused` if all of them belong to others, whom this user does not overrule.
        """
        outcomes = [await self._stop_thread(stop, str(stop.thread))] if stop.thread else []
        if stop.message_id and not _count_stopped(outcomes):
            outcomes.append(await self._stop_message(stop))
        if stop.channel and not _count_stopped(outcomes):
            named = {
                str(each.thread) for each in await unanswered_messages(self._redis) if _is_named(each, stop)
            }
            outcomes += [await self._stop_thread(stop, each, own=True) for each in sorted(named)]
        if "refused" in outcomes and not _count_stopped(outcomes):
            raise StopRefused(NOT_THEIRS)
        return _count_stopped(outcomes)

    async def _stop_message(self, stop: Stop) -> Outcome:
        thread: Any = await self._redis.hget(keys.seen(stop.message_id), "thread")
        if thread is None:
            return "ignored"
        overrules = await self._overrules(stop, keys.text(thread))
        return await self._withdraw_message(stop.message_id, "stop", stop.by, overrules=overrules)

    async def _stop_thread(self, stop: Stop, thread: str, *, own: bool = False) -> Outcome:
        overrules = not own and await self._overrules(stop, thread)
        outcome = await self._stop(
            keys=[keys.mailbox(thread), keys.messages(thread), keys.stops(thread)],
            args=[TAG, thread, "stop", stop.at, stop.by, int(overrules), SEEN_SECONDS, EARLY_SECONDS],
        )
        return cast("Outcome", keys.text(outcome))

    async def _overrules(self, stop: Stop, thread: str) -> bool:
        """Return whether a user can stop what others have asked in a thread."""
        if self._policy is None or stop.is_external:
            return False
        return await self._policy.can_stop(stop.by, thread)

    async def _withdraw_message(
        self, message_id: str, reason: Reason, by: str = "", *, overrules: bool = False
    ) -> Outcome:
        whole_turn = reason == "stop"
        outcome = await self._withdraw(
            keys=[keys.seen(message_id)],
            args=[TAG, message_id, int(whole_turn), EARLY_SECONDS, reason, by, int(overrules)],
        )
        return cast("Outcome", keys.text(outcome))


def _count_stopped(outcomes: Sequence[Outcome]) -> int:
    return sum(each in ("removed", "stopped") for each in outcomes)


def _is_named(message: Message, stop: Stop) -> bool:
    channels = {message.thread.channel, message.channel, message.parent}
    platform = stop.by.partition(":")[0]
    return message.author == stop.by and message.thread.platform == platform and stop.channel in channels
