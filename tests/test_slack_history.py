"""Reading on Slack what people wrote while nobody listened: in good order, patiently, nothing in vain."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from bot.chat import Correction, Event, Message
from bot.inbox import Inbox, Lookup
from bot.slack.api import open_api
from bot.slack.audience import Audiences
from bot.slack.history import History
from bot.slack.rate_limits import RateLimits
from bot.slack.timing import Timing
from bot.storage.coordination import RedisCoordination
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.servers.slack.workspace import ChannelKind


@pytest.fixture
async def server() -> AsyncIterator[Slack]:
    async with Slack(ack_timeout=0.1, redelivery_delays=()) as slack:
        yield slack
        assert not slack.violations


@dataclass
class Bot:
    """Bot that reads the history, and its inbox."""

    server: Slack
    redis: Redis
    found: list[str] = field(default_factory=list)
    audiences: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    async def read(self, since: float) -> float:
        """Read all since then; returns the age of the oldest message that was missed."""
        coordination = RedisCoordination(self.redis, "one")
        async with open_api(self.server.bot_token, self.server.api_url, Timing()) as api:
            history, self._audience = (
                History(api, RateLimits(coordination), coordination, Lookup(self.redis)),
                Audiences(api, Timing()).of,
            )
            return await history.read(await api.identify(), since, since, self._deliver)

    async def _deliver(self, event: Event) -> None:
        assert isinstance(event, Message | Correction)
        message = event.message if isinstance(event, Correction) else event
        self.found.append(message.text)
        self.audiences.append(await self._audience(message))
        self.outcomes.append(await Inbox(self.redis, name="one", follow_days=30).put(event))

    def channels(self, method: str) -> list[str]:
        """Return the channels in which a method was called, in order."""
        return [call.args["channel"] for call in self.server.calls if call.method == method]


@pytest.fixture
def bot(server: Slack, redis: Redis) -> Bot:
    return Bot(server, redis)


async def test_direct_messages_come_first_then_channels_with_threads_of_the_bot(
    server: Slack, bot: Bot
) -> None:
    """With a request a minute those wait least who are surely waiting."""
    server.add_channel("C0ALPHA")
    server.add_channel("C0OMEGA")
    direct = server.dm(ALICE)
    began = time.time() - 1
    await server.say(ALICE, "C0OMEGA", f"{server.mention} here")
    await bot.read(began)
    server.calls.clear()
    await bot.read(began)
    assert bot.channels("conversations.history")[:2] == [direct, "C0OMEGA"]
    assert set(bot.channels("conversations.history")) == {direct, "C0OMEGA", "C0ALPHA", GENERAL}


async def test_a_limit_is_waited_for(server: Slack, bot: Bot) -> None:
    """A 429 delays the reading, and loses nothing."""
    began = time.time() - 1
    await server.say(ALICE, GENERAL, f"{server.mention} missed")
    server.fail("conversations.history", status=429, retry_after=1)
    assert await bot.read(began) > 0
    assert bot.found == ["missed"]


async def test_a_thread_that_was_read_is_not_read_again(server: Slack, bot: Bot) -> None:
    """Until there is something new in it."""
    began = time.time() - 1
    root = await server.say(ALICE, GENERAL, f"{server.mention} first")
    await server.say(ALICE, GENERAL, "second", thread_ts=root)
    await bot.read(began)
    assert list(dict.fromkeys(bot.found)) == ["first", "second"]
    assert bot.channels("conversations.replies") == [GENERAL]
    assert await bot.read(began) == 0, "nothing was missed this time"
    assert bot.channels("conversations.replies") == [GENERAL]
    await server.say(ALICE, GENERAL, "third", thread_ts=root)
    await bot.read(began)
    assert bot.found[-1] == "third"
    assert len(bot.channels("conversations.replies")) == 2


async def test_a_channel_that_cannot_be_read_hides_no_other(server: Slack, bot: Bot) -> None:
    began = time.time() - 1
    server.add_channel("C0OMEGA")
    await server.say(ALICE, "C0OMEGA", f"{server.mention} missed")
    server.fail("conversations.history", error="channel_not_found")
    await bot.read(began)
    assert bot.found == ["missed"]


async def test_what_was_said_before_is_not_read(server: Slack, bot: Bot) -> None:
    await server.say(ALICE, GENERAL, f"{server.mention} long ago")
    await bot.read(time.time() + 1)
    assert bot.found == []


async def test_a_broken_message_in_the_history_hides_no_other(server: Slack, bot: Bot) -> None:
    """Catch-up would begin again and again, and reach nothing that comes after it."""
    began = time.time() - 1
    now = server.workspace.new_ts()
    server.workspace.broken = [
        None,
        "a message",
        {},
        {"type": "message", "ts": None},
        {"type": "message", "ts": "nan", "user": ALICE, "text": server.mention},
        {"type": "message", "ts": now, "user": {"id": ALICE}, "text": server.mention},
        {"type": "message", "ts": server.workspace.new_ts(), "user": ALICE, "latest_reply": ["x"]},
    ]
    root = await server.say(ALICE, GENERAL, f"{server.mention} first")
    await server.say(ALICE, GENERAL, "second", thread_ts=root)
    await bot.read(began)
    assert list(dict.fromkeys(bot.found)) == ["first", "second"]


@pytest.mark.parametrize("kind", ["channel", "group", "mpim", "im"])
async def test_people_of_other_organisations_read_a_shared_place_of_the_past_too(
    server: Slack, bot: Bot, kind: ChannelKind
) -> None:
    """Fault: a group's direct message with a partner, read from the history, counted as among members."""
    place = server.dm(ALICE) if kind == "im" else server.add_channel("C0PARTNER", kind)
    for is_shared in (False, True):
        server.workspace.channels[place].is_shared = is_shared
        began = time.time() - 1
        await server.say(ALICE, place, f"{server.mention} shared: {is_shared}")
        await bot.read(began)
    within = "everyone" if kind == "channel" else "members"
    told = dict(zip(bot.found, bot.audiences, strict=True))
    assert told["shared: True"] == "outsiders"
    assert bot.audiences[0] == within


async def test_an_edit_that_nobody_heard_is_found_in_the_history(
    server: Slack, bot: Bot, redis: Redis
) -> None:
    """The last question of a thread is answered again, once, though it was answered before the edit."""
    began = time.time() - 1
    ts = await server.say(ALICE, GENERAL, f"{server.mention} how many?")
    await bot.read(began)
    inbox = Inbox(redis, name="one", follow_days=30)
    await inbox.ensure_group()
    [lease] = await inbox.lease(1, None)
    begun = await inbox.begin(lease)
    assert begun
    await inbox.finish(lease, begun.turn)
    server.edit(GENERAL, ts, f"{server.mention} how many in May?")
    for _ in range(2):
        await bot.read(began)
    assert bot.found == ["how many?", *["how many in May?"] * 2]
    assert bot.outcomes == ["kept", "corrected", "duplicate"]
