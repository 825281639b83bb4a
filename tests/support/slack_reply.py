"""Question on Slack that only the test answers."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from redis.asyncio import Redis

from bot.chat import ThreadId
from bot.inbox import Lookup
from bot.slack.platform import connect
from bot.slack.rate_limits import PER_MINUTE
from bot.slack.timing import Timing
from bot.storage.coordination import RedisCoordination
from bot.storage.files import FileStore
from tests.servers.slack.service import ALICE, GENERAL, TEAM, Slack
from tests.support.files import QuestionRun

STATUS_FIRST = Timing(status_delay=0)
"""Durations with which each answer begins with a status."""


@contextlib.asynccontextmanager
async def ask_question(
    slack: Slack,
    redis: Redis,
    kind: str = "channel",
    timing: Timing = STATUS_FIRST,
    per_minute: Mapping[str, int] = PER_MINUTE,
) -> AsyncIterator[QuestionRun]:
    """Ask in the channel while no bot listens, so that only the test answers."""
    ts = await slack.say(ALICE, GENERAL, "draw it")
    place = {"team": TEAM, "ts": ts, "user": ALICE, "channel_kind": kind}
    async with connect(
        bot_token=slack.bot_token,
        app_token=slack.app_token,
        signing_secret=None,
        api_url=slack.api_url,
        coordination=RedisCoordination(redis, "one"),
        lookup=Lookup(redis),
        files=FileStore(redis),
        catch_up_hours=24,
        timing=timing,
        per_minute=per_minute,
    ) as platform:
        yield QuestionRun(platform, ThreadId("slack", TEAM, GENERAL, ts), GENERAL, place)


def replies(slack: Slack, question: QuestionRun) -> list[tuple[str, list[str]]]:
    """Return the replies of the thread: texts, and names of files."""
    shown = slack.replies(GENERAL, question.thread.thread)
    return [(each.visible_text, [file.name for file in each.files]) for each in shown]
