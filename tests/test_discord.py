"""The Discord platform against a server that speaks Discord's protocols, over real sockets."""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import discord as library
import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route
from redis.asyncio import Redis

from bot.chat import (
    AnswerError,
    Approval,
    CredentialsRejected,
    Event,
    Health,
    Json,
    LeaseLost,
    Message,
    Notice,
    Part,
    PlatformError,
    RateLimited,
    Receipt,
    Text,
    ThreadId,
    ToolStep,
    Turn,
    TypedDecision,
    Undeliverable,
    Unreachable,
)
from bot.commands.approvals import Decided
from bot.commands.commands import Commands
from bot.concurrency.tasks import cancel
from bot.discord import api, connection, messages, request_guard
from bot.discord import commands as discord_commands
from bot.discord import handlers as handling
from bot.discord import health as discord_health
from bot.discord.errors import translate_errors
from bot.discord.messages import plain_text
from bot.discord.platform import Discord as DiscordPlatform
from bot.discord.platform import connect
from bot.inbox import Lookup, worker
from bot.main import SETTINGS
from bot.platforms import health as platform_health
from bot.platforms import supervise
from bot.storage.coordination import SharedState
from bot.storage.files import FileStore
from tests.servers.discord.gateway import Session
from tests.servers.discord.interactions import Kind
from tests.servers.discord.rate_limits import Fault
from tests.servers.discord.records import MessageFlag
from tests.servers.discord.service import Channel, Discord
from tests.servers.discord.service import Message as Shown
from tests.support.commands import nothing_to_stop
from tests.support.discord_shard import sample, samples
from tests.support.wait import wait_until

MESSAGES = "/channels/*/messages"
MESSAGE = "/channels/*/messages/*"
COMMANDS = "/applications/*/commands"
THREADS = "/channels/*/messages/*/threads"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat soon what is repeated: the order of things is tested here, not the time between them."""
    monkeypatch.setattr(api, "REPEAT_SECONDS", 0.01)
    monkeypatch.setattr(handling, "REPEAT_SECONDS", 0.01)


@pytest.fixture
def server(discord: Discord) -> Discord:
    return discord


Answer = Callable[[Turn], AsyncIterator[Part]]


async def echo(turn: Turn) -> AsyncIterator[Part]:
    for word in f"You said: {turn.messages[-1].text}".split(" "):
        yield Text(f"{word} ")


@dataclass
class Bot:
    """The platform with the least that makes it a bot: messages are kept, the addressed ones answered."""

    platform: DiscordPlatform
    answer: Answer = echo
    heard: list[Message] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    receipts: dict[str, Json] = field(default_factory=dict)
    failures: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def deliver(self, event: Event) -> None:
        if not isinstance(event, Message):
            self.events.append(event)
            return
        message = event
        if message.text == "trouble" and self.failures:
            self.failures -= 1
            raise ConnectionError("the store is down")
        self.heard.append(message)
        if message.addressed:
            self.tasks.add(asyncio.create_task(self.reply(message)))

    async def reply(self, *messages: Message, answer: Answer | None = None) -> None:
        turn = Turn(id=messages[0].id, thread=messages[0].thread, messages=messages)

        async def keep(state: Mapping[str, Json]) -> None:
            self.receipts[turn.id] = dict(state)

        receipt = Receipt(turn, keep, dict(self.receipts.get(turn.id, {})))
        await self.platform.thread(turn.thread).reply((answer or self.answer)(turn), receipt)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.platform.receive(self.deliver))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.gather(*self.tasks)


NO_FILES = FileStore(Redis())  # no test here shows one
SHARED: list[SharedState] = []
LOOKUPS: list[Lookup] = []
"""What the processes of the bot know together, of the test at hand."""


@pytest.fixture(autouse=True)
async def shared(redis: Redis) -> AsyncIterator[SharedState]:
    SHARED.append(SharedState(redis, "one"))
    LOOKUPS.append(Lookup(redis))
    yield SHARED[0]
    SHARED.clear()
    LOOKUPS.clear()


async def well() -> list[Health]:
    return [Health(name="redis", state="ok", evidence={"ping_ms": 1})]


def a_platform(
    token: str, url: str, examine: Callable[[], Awaitable[Sequence[Health]]] = well
) -> contextlib.AbstractAsyncContextManager[DiscordPlatform]:
    commands = Commands(examine, nothing_to_stop, is_admin=lambda by: True)
    return connect(
        token=token,
        api_url=url,
        commands=commands,
        shared=SHARED[0],
        lookup=LOOKUPS[0],
        files=NO_FILES,
        catch_up_hours=24,
        shards=None,
    )


@contextlib.asynccontextmanager
async def bot_of(
    server: Discord, examine: Callable[[], Awaitable[Sequence[Health]]] = well
) -> AsyncIterator[Bot]:
    async with a_platform(server.token, server.url, examine) as platform:
        bot = Bot(platform)
        yield bot
        assert_no_late_typing(server, bot)


def assert_no_late_typing(server: Discord, bot: Bot) -> None:
    """Where all answers are finished, typing that came after the last edit would go on for 10 s."""
    unfinished = {each["channel"] for each in bot.receipts.values() if not each.get("finished")}
    for receipt in bot.receipts.values():
        channel = server.world.channels.get(int(receipt["channel"]))
        if channel and channel.typing and receipt["channel"] not in unfinished:
            mine = [each for each in channel.messages.values() if each.author is server.bot]
            assert max(channel.typing) < max(each.history[-1].at for each in mine)


@pytest.fixture
async def bot(server: Discord) -> AsyncIterator[Bot]:
    """A bot that only sends, until `listening`."""
    async with bot_of(server) as bot:
        yield bot


@pytest.fixture
async def live(bot: Bot, server: Discord) -> AsyncIterator[Bot]:
    async with bot.listening():
        await server.connected()
        yield bot


def said(server: Discord, shown: Shown, text: str = "hello") -> Message:
    """A person's message, as `events.parse` would give it."""
    channel = shown.channel
    kind = "dm" if channel.guild is None else "thread" if channel.is_thread else "channel"
    space = str(channel.guild.id) if channel.guild else "dm"
    root = shown.id if kind == "channel" else channel.id
    return Message(
        id=f"discord:{shown.id}",
        thread=ThreadId("discord", space, str(root)),
        author=f"discord:{shown.author.id}",
        text=text,
        sent_at=0,
        addressed=True,
        channel=str(channel.id),
        parent=str(channel.parent.id) if channel.parent else "",
        place={
            "message": str(shown.id),
            "kind": kind,
            "author": str(shown.author.id),
        },
        direct=kind == "dm",
    )


async def direct(server: Discord) -> Message:
    """A question in a direct message."""
    return said(server, await server.say(server.alice, server.dm(server.alice), "hello"))


def texts(server: Discord, channel: Channel) -> list[str]:
    mine = [each for each in server.messages(channel) if each.author is server.bot]
    return [each.content for each in mine]


def fixed(*parts: Part | str) -> Answer:
    async def answer(turn: Turn) -> AsyncIterator[Part]:
        for part in parts:
            yield Text(part) if isinstance(part, str) else part

    return answer


@dataclass
class Held:
    """An answer that goes on when the test lets it."""

    before: Sequence[Part]
    after: Sequence[Part] = ()
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, turn: Turn) -> AsyncIterator[Part]:
        for part in self.before:
            yield part
        await self.go_on.wait()
        for part in self.after:
            yield part


def one_by_one(*answers: Answer) -> Answer:
    async def answer(turn: Turn) -> AsyncIterator[Part]:
        for each in answers:
            async for part in each(turn):
                yield part

    return answer


def ends(text: str) -> Callable[[Sequence[Shown]], bool]:
    return lambda messages: messages[-1].content.endswith(text)


# --- conversations


async def test_a_mention_is_answered_in_a_thread_made_from_it(server: Discord, live: Bot) -> None:
    question = await server.say(server.alice, server.general, f"{server.mention} how many **orders**?")
    thread = await server.thread_of(question)
    answer = await server.answer(thread, ends("orders**?"))
    assert [each.content for each in answer] == ["You said: how many **orders**?"]
    assert thread.name == "how many orders?"
    assert texts(server, server.general) == []


async def test_follow_ups_in_the_thread_come_unaddressed_and_are_answered_there(
    server: Discord, live: Bot
) -> None:
    question = await server.say(server.alice, server.general, f"{server.mention} one")
    thread = await server.thread_of(question)
    await server.answer(thread, ends("one"))
    await server.say(server.alice, thread, "two")
    await wait_until(lambda: len(live.heard) == 2, "the follow-up is heard")
    assert [each.addressed for each in live.heard] == [True, False]
    assert live.heard[0].thread == live.heard[1].thread
    await live.reply(live.heard[1])
    assert texts(server, thread) == ["You said: one", "You said: two"]


async def test_direct_messages_are_answered(server: Discord, live: Bot) -> None:
    channel = server.dm(server.alice)
    await server.say(server.alice, channel, "hello")
    await server.answer(channel, ends("hello"))
    assert live.heard[0].direct


async def test_talk_among_others_is_not_heard(server: Discord, live: Bot) -> None:
    await server.say(server.alice, server.general, "hello all")
    await server.say(server.alice, server.general, f"{server.mention} hello")
    await wait_until(lambda: bool(live.heard), "the mention is heard")
    assert [each.text for each in live.heard] == ["hello"]


async def test_without_permission_for_threads_the_reply_chain_is_the_conversation(
    server: Discord, live: Bot
) -> None:
    server.general.denied.add("create_public_threads")
    question = await server.say(server.alice, server.general, f"{server.mention} one")
    [first] = await server.answer(server.general, ends("one"))
    assert first.reference is question
    assert first.mentions == [server.alice]
    again = await server.say(server.alice, server.general, "two", reply_to=first)
    [second] = await server.answer(server.general, ends("two"), after=first)
    third = await server.say(server.alice, server.general, "three", reply_to=second)
    await server.answer(server.general, ends("three"), after=third)
    assert {each.thread for each in live.heard} == {live.heard[0].thread}
    assert again.thread is None


async def test_where_it_may_read_no_history_the_answer_is_no_reply(server: Discord, bot: Bot) -> None:
    server.general.denied |= {"create_public_threads", "read_message_history"}
    question = said(server, await server.say(server.alice, server.general, f"{server.mention} hello"))
    await bot.reply(question)
    [answer] = server.messages(server.general)[1:]
    assert answer.reference is None


async def test_a_thread_that_exists_already_is_used(server: Discord, bot: Bot) -> None:
    question = await server.say(server.alice, server.general, f"{server.mention} hello")
    thread = server.start_thread(server.bob, question)
    await bot.reply(said(server, question))
    assert texts(server, thread) == ["You said: hello"]


async def test_a_deleted_question_is_answered_in_the_channel(server: Discord, bot: Bot) -> None:
    question = await server.say(server.alice, server.general, f"{server.mention} hello")
    server.remove(question)
    await bot.reply(said(server, question))
    assert texts(server, server.general) == ["You said: hello"]


async def test_an_answer_pings_nobody_and_has_no_previews(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    text = f"@everyone {server.bob.mention} see https://example.com"
    await bot.reply(question, answer=fixed(text))
    [answer] = server.messages(server.dm(server.alice))[1:]
    assert answer.content == text
    assert not answer.mentions
    assert not answer.mentions_everyone
    assert library.MessageFlags._from_value(int(answer.flags)).suppress_embeds


# --- streaming


async def test_the_first_text_is_shown_at_once_and_the_end_always(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    channel = server.dm(server.alice)
    held = Held([Text("First")], [Text(" and"), Text(" last")])
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await server.answer(channel, ends("First"))
    held.go_on.set()
    await reply
    assert texts(server, channel) == ["First and last"]
    assert bot.receipts[question.id]["finished"]


async def test_a_long_stream_stays_within_the_buckets(
    server: Discord, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = await direct(server)
    server.limit("edit", 5, 1.0)
    server.limit("send", 5, 1.0)
    monkeypatch.setattr(messages, "EDIT_SECONDS", 0.24)

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        for number in range(200):
            yield Text(f"word{number} ")
            await asyncio.sleep(0.01)

    await bot.reply(question, answer=answer)
    channel = server.dm(server.alice)
    assert "".join(texts(server, channel)).split() == [f"word{number}" for number in range(200)]
    assert server.rate_limited == 0
    assert len(server.edit_times(channel)) > 3


async def test_edits_of_all_answers_in_a_channel_share_its_pace(
    server: Discord, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "EDIT_SECONDS", 0.2)
    server.general.denied.add("create_public_threads")
    questions = [said(server, await server.say(server.alice, server.general, "hello")) for _ in range(3)]
    helds = [Held([Text("first")], [Text(" last")]) for _ in questions]
    replies = [
        asyncio.create_task(bot.reply(question, answer=held))
        for question, held in zip(questions, helds, strict=True)
    ]
    await wait_until(lambda: len(texts(server, server.general)) == 3, "all answers begin")
    began = time.monotonic()
    for held in helds:
        held.go_on.set()
    await asyncio.gather(*replies)
    assert server.edit_times(server.general)[-1] >= began + 0.4
    assert texts(server, server.general) == ["first last"] * 3


async def test_a_slow_discord_does_not_hold_the_model_back(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    slow = server.fail("POST", MESSAGES, delay=30)
    read = 0

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        nonlocal read
        for _ in range(50):
            read += 1
            yield Text("word ")

    reply = asyncio.create_task(bot.reply(question, answer=answer))
    await wait_until(lambda: slow.used == 1 and read == 50, "all is read while the first message is sent")
    reply.cancel()
    await asyncio.gather(reply, return_exceptions=True)


async def test_a_long_answer_goes_on_in_further_messages(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    code = "```python\n" + "print('x')\n" * 60 + "```"
    paragraph = "Words and words. " * 70
    answer = f"{paragraph}\n\n{code}\n\n{paragraph}\n\n{code}"
    await bot.reply(question, answer=fixed(*[answer[at : at + 100] for at in range(0, len(answer), 100)]))
    shown = texts(server, server.dm(server.alice))
    assert len(shown) > 2
    assert "\n".join(shown).split() == answer.split()
    assert sum(code in each for each in shown) == 2


async def test_tool_steps_are_small_lines_and_notices_paragraphs(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    channel = server.dm(server.alice)
    step = ToolStep(id="1", name="sql_query", state="started", title="Looking up the orders")
    done = ToolStep(
        id="1", name="sql_query", state="finished", title="Looking up the orders", output="3 rows"
    )
    held = Held([step], [done, Text("There are 3."), Notice("Time is up.")])
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await server.answer(channel, ends("-# 🔎 Looking up the orders…"))
    held.go_on.set()
    await reply
    assert texts(server, channel) == ["-# ✅ Looking up the orders: 3 rows\nThere are 3.\n\nTime is up."]


async def test_the_bot_types_while_it_thinks(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    held = Held([], [Text("Done.")])
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await wait_until(lambda: bool(server.typing(server.dm(server.alice))), "typing is shown")
    assert texts(server, server.dm(server.alice)) == []
    held.go_on.set()
    await reply


async def test_typing_ends_with_the_first_text(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    channel = server.dm(server.alice)
    before, held = Held([], [Text("First")]), Held([], [Text(" and last")])
    tasks = asyncio.all_tasks()
    reply = asyncio.create_task(bot.reply(question, answer=one_by_one(before, held)))
    await wait_until(lambda: bool(server.typing(channel)), "typing is shown")
    assert typing_tasks(tasks)
    before.go_on.set()
    await server.answer(channel, ends("First"))
    assert not typing_tasks(tasks)
    held.go_on.set()
    await reply


async def test_the_bot_types_again_while_a_tool_is_at_work(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    channel = server.dm(server.alice)
    step = ToolStep(id="1", name="sql_query", state="started", title="Looking")
    text, tool = Held([Text("Let me see.")], [step]), Held([], [Text("12.")])
    reply = asyncio.create_task(bot.reply(question, answer=one_by_one(text, tool)))
    await server.answer(channel, ends("see."))
    typed = len(server.typing(channel))
    text.go_on.set()
    await wait_until(lambda: len(server.typing(channel)) > typed, "typed again", timeout=5)
    tool.go_on.set()
    await reply


def typing_tasks(before: set[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    new = asyncio.all_tasks() - before
    return [task for task in new if "Status" in getattr(task.get_coro(), "__qualname__", "")]


async def test_typing_that_fails_fails_nothing(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    server.fail("POST", "/channels/*/typing", status=403, code=50013)
    await bot.reply(question)
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]


# --- trouble while answering


async def test_a_send_whose_answer_is_lost_is_one_message(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    fault = server.fail("POST", MESSAGES, drop=True, after_applying=True)
    await bot.reply(question)
    assert fault.used == 1
    assert server.count("POST", MESSAGES) == 2
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]


async def test_a_wait_for_the_global_limit_that_is_cut_short_holds_up_nothing(
    server: Discord, bot: Bot
) -> None:
    """As when an answer ends while "typing" waits: discord.py would hold all later requests for ever."""

    async def allowed() -> None: ...

    question = await direct(server)
    channel = server.dm(server.alice).id
    fault = server.fail("POST", "/channels/*/typing", status=429, retry_after=20, is_global=True)
    typing = asyncio.create_task(bot.platform._api.type(channel, hold=allowed))
    await wait_until(lambda: fault.used == 1, "the limit is told")
    client = bot.platform._api._client
    assert client
    await wait_until(lambda: not client.http._global_over.is_set(), "the gate is closed")
    await cancel(typing)
    await bot.reply(question)
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]


async def test_a_client_whose_http_session_died_is_replaced(server: Discord, bot: Bot) -> None:
    """It would never open another one, and fail until the process ends."""
    await bot.reply(await direct(server))
    client = bot.platform._api._client
    assert client
    await client.http.close()
    await bot.reply(await direct(server))
    assert texts(server, server.dm(server.alice)) == ["You said: hello"] * 2


async def test_an_interrupted_answer_is_finished_in_the_same_messages(
    server: Discord, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.limit("edit", 100, 1.0)
    question = await direct(server)
    channel = server.dm(server.alice)
    long = [f"Sentence number {number}. " for number in range(120)]
    held = Held([Text(each) for each in long[:100]])
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await server.answer(channel, lambda messages: len(messages) == 2 and messages[1].content.endswith("99."))
    before = [each.id for each in server.messages(channel)[1:]]
    reply.cancel()
    await asyncio.gather(reply, return_exceptions=True)

    monkeypatch.setattr(messages, "EDIT_SECONDS", 0.01)

    async def again(turn: Turn) -> AsyncIterator[Part]:
        for sentence in long:
            yield Text(sentence)
            await asyncio.sleep(0.002)

    await bot.reply(question, answer=again)
    after = [each.id for each in server.messages(channel)[1:]]
    assert after == before
    assert " ".join(texts(server, channel)).split() == "".join(long).split()
    for message in server.messages(channel)[1:]:
        lengths = [len(edit.content) for edit in message.history]
        assert lengths == sorted(lengths), "what was shown was taken back"


async def test_a_finished_answer_is_not_shown_again(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    await bot.reply(question)
    requests = len(server.calls)

    await bot.reply(question, answer=fixed("Something else."))
    assert len(server.calls) == requests


@pytest.mark.parametrize("left", ["history", "nonce"])
async def test_a_message_that_was_being_sent_at_the_crash_is_found(
    server: Discord, bot: Bot, left: str
) -> None:
    question = await direct(server)
    channel = server.dm(server.alice)
    server.fail("POST", MESSAGES, delay=30, after_applying=True)
    reply = asyncio.create_task(bot.reply(question))
    await wait_until(lambda: bool(texts(server, channel)), "the message is there, its id is not known")
    reply.cancel()
    await asyncio.gather(reply, return_exceptions=True)
    assert not bot.receipts[question.id].get("messages")
    if left == "history":
        server.forget_nonces()
    else:
        server.fail("GET", MESSAGES, status=403, code=50001)
    await bot.reply(question)
    assert texts(server, channel) == ["You said: hello"]


async def test_a_message_of_another_conversation_is_not_taken_for_the_one_being_sent(
    server: Discord, bot: Bot
) -> None:
    """Fault: answers that begin alike, in a channel without threads: the later one overwrote the other."""
    server.general.denied.add("create_public_threads")
    ask = f"{server.mention} hello"
    questions = [await server.say(each, server.general, ask) for each in (server.alice, server.bob)]
    first, second = (said(server, each) for each in questions)
    await bot.reply(first)
    server.fail("POST", MESSAGES, times=3, drop=True)
    with pytest.raises(Unreachable):
        await bot.reply(second)
    await bot.reply(second)
    own = [each for each in server.messages(server.general) if each.author is server.bot]
    assert [each.reference for each in own] == questions
    assert texts(server, server.general) == ["You said: hello", "You said: hello"]


async def test_a_shorter_answer_takes_back_what_is_too_much(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    channel = server.dm(server.alice)
    held = Held([Text("word " * 600)])
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await wait_until(lambda: bot.receipts.get(question.id, {}).get("shown", 0) > 2000, "two are shown")
    reply.cancel()
    await asyncio.gather(reply, return_exceptions=True)
    await bot.reply(question, answer=fixed("Only this."))
    assert texts(server, channel) == ["Only this."]


async def begun(server: Discord, bot: Bot, question: Message) -> tuple[Channel, Held, asyncio.Task[None]]:
    """An answer whose first half is shown."""
    channel = server.world.channels[int(question.channel)]
    held = Held([Text("First")], [Text(" and last")])
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await server.answer(channel, ends("First"))
    return channel, held, reply


async def test_an_answer_whose_message_was_deleted_is_shown_anew(server: Discord, bot: Bot) -> None:
    channel, held, reply = await begun(server, bot, await direct(server))
    server.remove(server.messages(channel)[-1])
    held.go_on.set()
    await reply
    assert texts(server, channel) == ["First and last"]


async def test_an_answer_in_a_thread_that_was_archived_is_shown_anew(server: Discord, bot: Bot) -> None:
    thread = server.start_thread(server.alice, server.general)
    question = said(server, await server.say(server.alice, thread, "hello"))
    channel, held, reply = await begun(server, bot, question)
    server.archive(thread)
    held.go_on.set()
    await reply
    assert texts(server, channel) == ["First and last"]
    assert not thread.archived


@pytest.mark.parametrize("code", [200000, 50035, 0])
async def test_an_answer_whose_edit_is_refused_is_shown_anew_and_goes_on_there(
    server: Discord, bot: Bot, code: int
) -> None:
    channel, held, reply = await begun(server, bot, await direct(server))
    server.fail("PATCH", MESSAGE, status=400, code=code)
    held.after = [Text("".join(f" {number}" for number in range(1000))), Text(" end")]
    held.go_on.set()
    await reply
    assert " ".join(texts(server, channel)).split() == ["First", *map(str, range(1000)), "end"]


@pytest.mark.parametrize("at", ["the new message", "the deletion of the old one"])
async def test_an_answer_that_was_being_shown_anew_at_the_crash_is_shown_once(
    server: Discord, bot: Bot, at: str
) -> None:
    """Also when Discord has forgotten the nonce by then."""
    question = await direct(server)
    channel, held, reply = await begun(server, bot, question)
    server.fail("PATCH", MESSAGE, status=400, code=200000)
    if at == "the new message":
        fault = server.fail("POST", MESSAGES, delay=30, after_applying=True)
    else:
        fault = server.fail("DELETE", MESSAGE, delay=30)
    held.go_on.set()
    await wait_until(lambda: fault.used == 1 and len(texts(server, channel)) == 2, "both are shown")
    reply.cancel()
    await asyncio.gather(reply, return_exceptions=True)
    server.forget_nonces()
    await bot.reply(question, answer=fixed("First and last"))
    assert texts(server, channel) == ["First and last"]


@pytest.mark.parametrize("refused", ["the new message", "its edit"])
async def test_an_answer_that_discord_refuses_for_good_ends_with_a_sentence(
    server: Discord, bot: Bot, refused: str
) -> None:
    question = await direct(server)
    held, last = Held([Text("First")], [Text(" and more")]), Held([], [Text(" and last")])
    reply = asyncio.create_task(bot.reply(question, answer=one_by_one(held, last)))
    channel = server.dm(server.alice)
    await server.answer(channel, ends("First"))
    server.fail("PATCH", MESSAGE, times=3, status=400, code=200000)
    if refused == "the new message":
        server.fail("POST", MESSAGES, times=2, status=400, code=200000)
    held.go_on.set()
    await wait_until(lambda: server.count("POST", MESSAGES) >= 2, "it is sent anew")
    last.go_on.set()
    await reply
    assert "not shown in full" in texts(server, channel)[-1]
    assert texts(server, channel)[0].startswith("First")
    assert len(texts(server, channel)) == 2
    assert bot.receipts[question.id]["finished"]


async def test_a_refused_message_is_sent_once_more_as_plain_text(server: Discord, bot: Bot) -> None:
    """Without control characters, of a length that Discord takes however it counts, and as no reply."""
    server.general.denied.add("create_public_threads")
    question = said(server, await server.say(server.alice, server.general, f"{server.mention} hello"))
    fault = server.fail("POST", MESSAGES, status=400, code=50035)
    await bot.reply(question, answer=fixed("Here: \x00\x1b[1m" + "🚢" * 1200))
    first, *_ = [each for each in server.messages(server.general) if each.author is server.bot]
    assert fault.used == 1
    assert first.content == "Here: [1m" + "🚢" * 995 + "…"
    assert first.reference is None


def test_plain_text_keeps_words_apart_and_marks_without_meaning() -> None:
    """Fault: `10\u00a0kg` became `10kg`, and neutral backticks, signs and emoji were live again."""
    text = "10\u00a0kg\u3000of\u200b: `\u200b`\u200b` <:x:1100000000000000009\u200b> 👩\u200d💻"
    assert plain_text(f"\x1b{text}\ta\r\nb\ud83d") == f"{text} a\nb"


async def test_an_answer_of_which_discord_takes_nothing_is_told_by_a_sentence(
    server: Discord, bot: Bot
) -> None:
    server.fail("POST", MESSAGES, times=2, status=400, code=200000)
    await bot.reply(await direct(server))
    [sentence] = texts(server, server.dm(server.alice))
    assert "not shown in full" in sentence


async def test_when_even_the_sentence_is_refused_the_answer_is_undeliverable(
    server: Discord, bot: Bot
) -> None:
    server.fail("POST", MESSAGES, times=3, status=400, code=200000)
    with pytest.raises(Undeliverable):
        await bot.reply(await direct(server))


@pytest.mark.parametrize("code", [10003, 50001, 50007, 50013])
async def test_an_edit_that_is_refused_for_the_place_is_undeliverable(
    server: Discord, bot: Bot, code: int
) -> None:
    channel, held, reply = await begun(server, bot, await direct(server))
    server.fail("PATCH", MESSAGE, status=403, code=code)
    held.go_on.set()
    with pytest.raises(Undeliverable):
        await reply
    assert texts(server, channel) == ["First"]


async def test_a_message_that_cannot_be_taken_back_fails_nothing(server: Discord, bot: Bot) -> None:
    channel, held, reply = await begun(server, bot, await direct(server))
    server.fail("PATCH", MESSAGE, status=400, code=200000)
    server.fail("DELETE", MESSAGE, status=400, code=50083)
    held.go_on.set()
    await reply
    assert texts(server, channel) == ["First", "First and last"]


async def test_a_channel_that_is_gone_is_undeliverable(server: Discord, bot: Bot) -> None:
    question = said(server, await server.say(server.alice, server.general, "hello"))
    server.remove_channel(server.general)
    with pytest.raises(Undeliverable):
        await bot.reply(question)


async def test_a_person_who_takes_no_messages_is_undeliverable(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    server.alice.accepts_dms = False
    with pytest.raises(Undeliverable):
        await bot.reply(question)


async def test_a_dead_server_is_unreachable_after_some_tries(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    fault = server.fail("POST", MESSAGES, times=99, status=503)
    with pytest.raises(Unreachable):
        await bot.reply(question)
    assert fault.used == api.TRIES


async def test_a_long_rate_limit_is_told_to_the_caller(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    server.fail("POST", MESSAGES, status=429, retry_after=120)
    with pytest.raises(RateLimited) as limited:
        await bot.reply(question)
    assert limited.value.retry_after == 120


async def test_a_short_rate_limit_is_waited_for(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    server.fail("POST", MESSAGES, status=429, retry_after=0.05)
    await bot.reply(question)
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]


@pytest.mark.parametrize("error", [AnswerError("no"), LeaseLost("gone")])
async def test_an_error_of_the_answer_comes_out_as_it_is(server: Discord, bot: Bot, error: Exception) -> None:
    async def failing(turn: Turn) -> AsyncIterator[Part]:
        yield Text("So far")
        raise error

    question = await direct(server)
    with pytest.raises(type(error)) as raised:
        await bot.reply(question, answer=failing)
    assert raised.value is error


async def test_a_lost_lease_stops_the_reply(server: Discord, bot: Bot) -> None:
    async def keep(state: Mapping[str, Json]) -> None:
        raise LeaseLost

    question = await direct(server)
    turn = Turn(id="t", thread=question.thread, messages=(question,))
    with pytest.raises(LeaseLost):
        await bot.platform.thread(turn.thread).reply(echo(turn), Receipt(turn, keep))
    assert texts(server, server.dm(server.alice)) == []


async def reply_until_lost(bot: Bot, question: Message, fault: Fault) -> None:
    """A reply of "Only this." by a process that loses its turn while the request of `fault` goes wrong."""

    async def hold() -> None:
        if fault.used:
            raise LeaseLost

    async def keep(state: Mapping[str, Json]) -> None:
        pass

    turn = Turn(id=question.id, thread=question.thread, messages=(question,))
    receipt = Receipt(turn, keep, dict(bot.receipts.get(turn.id, {})), hold)
    await bot.platform.thread(turn.thread).reply(fixed("Only this.")(turn), receipt)


async def left_half_done(bot: Bot, question: Message) -> None:
    """An earlier attempt has shown more than one message."""
    await bot.reply(question, answer=fixed("word " * 600))
    bot.receipts[question.id]["finished"] = False


WRITES = [("POST", THREADS), ("POST", MESSAGES), ("PATCH", MESSAGE), ("DELETE", MESSAGE)]


@pytest.mark.parametrize("trouble", [{"status": 429, "retry_after": 0.05}, {"status": 503}, {"delay": 30}])
@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_nothing_is_written_again_once_the_turn_is_lost(
    server: Discord,
    bot: Bot,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    trouble: dict[str, Any],
) -> None:
    """Neither by us nor by discord.py, which repeats what was limited by itself."""
    monkeypatch.setattr(request_guard, "EXCHANGE_SECONDS", 0.2)
    question = said(server, await server.say(server.alice, server.general, f"{server.mention} hello"))
    if path == MESSAGE:
        await left_half_done(bot, question)
    done = server.count(method, path)
    fault = server.fail(method, path, **trouble)
    with pytest.raises(LeaseLost):
        await reply_until_lost(bot, question, fault)
    assert server.count(method, path) == done + 1


async def test_typing_ends_once_the_turn_is_lost(server: Discord, bot: Bot) -> None:
    fault = server.fail("POST", "/channels/*/typing", status=429, retry_after=0.05)
    question = await direct(server)
    held = Held([])

    async def hold() -> None:
        if fault.used:
            raise LeaseLost

    async def keep(state: Mapping[str, Json]) -> None:
        pass

    turn = Turn(id=question.id, thread=question.thread, messages=(question,))
    with pytest.raises(LeaseLost):
        await bot.platform.thread(turn.thread).reply(held(turn), Receipt(turn, keep, check_lease=hold))
    assert not server.typing(server.dm(server.alice))


async def test_a_wait_for_a_rate_limit_is_not_cut_short(
    server: Discord, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be longer than an exchange: another request would only be refused, too."""
    monkeypatch.setattr(request_guard, "EXCHANGE_SECONDS", 0.2)
    question = await direct(server)
    server.fail("POST", MESSAGES, status=429, retry_after=0.5, is_global=True)
    await bot.reply(question)
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]
    assert server.count("POST", MESSAGES) == 2


def test_an_exchange_ends_while_the_turn_is_still_ours() -> None:
    """`hold` returns without asking until a part of the lease is over."""
    lease_seconds = SETTINGS.model_fields["lease_seconds"].default
    assert (1 - worker._HELD_SHARE) * lease_seconds > request_guard.EXCHANGE_SECONDS


# --- receiving


async def test_replies_work_while_nothing_is_received(server: Discord, bot: Bot) -> None:
    async with bot.listening():
        await server.connected()
    assert not any(session.connected for session in server.sessions)
    await bot.reply(await direct(server))
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]
    assert len(server.sessions) == 1


async def test_a_message_that_cannot_be_kept_is_tried_again_before_later_ones(
    server: Discord, live: Bot
) -> None:
    live.failures = 3
    for text in ("trouble", "two", "three"):
        await server.say(server.alice, server.dm(server.alice), text)
    await wait_until(lambda: len(live.heard) == 3, "all are heard")
    assert [each.text for each in live.heard] == ["trouble", "two", "three"]


async def test_a_message_that_cannot_be_kept_holds_no_other_channel_up(server: Discord, live: Bot) -> None:
    live.failures = 10**6
    await server.say(server.alice, server.dm(server.alice), "trouble")
    await server.say(server.bob, server.dm(server.bob), "hello")
    await wait_until(lambda: bool(live.heard), "the other channel is heard")
    live.failures = 0
    await wait_until(lambda: len(live.heard) == 2, "the first is heard in the end")


async def test_a_message_in_hand_is_handed_over_before_receiving_ends(server: Discord, bot: Bot) -> None:
    arrived, kept = asyncio.Event(), asyncio.Event()

    async def deliver(message: Event) -> None:
        arrived.set()
        await asyncio.sleep(0.1)
        kept.set()

    receiving = asyncio.create_task(bot.platform.receive(deliver))
    await server.connected()
    await direct(server)
    await arrived.wait()
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    assert receiving.cancelled()
    assert kept.is_set()


async def test_a_handler_that_swallows_its_cancellation_ends_all_the_same() -> None:
    """Fault: redis-py does so now and then, and nothing was cancelled again: the end waited for it."""
    handlers = handling.Handlers()

    async def stubborn() -> None:
        handlers.join()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    handler = asyncio.create_task(stubborn())
    finishing = asyncio.create_task(handlers.finish(0))
    await wait_until(finishing.done, "finished")
    assert handler.cancelled()


async def test_nothing_is_left_when_receiving_ends(server: Discord, bot: Bot) -> None:
    await bot.platform.health()  # the client that sends keeps its connection
    before = asyncio.all_tasks()
    async with bot.listening():
        await server.connected()
    await wait_until(lambda: not server.gateway.connections, "the gateway is left")
    await wait_until(lambda: asyncio.all_tasks() <= before, "no task is left")


@pytest.mark.parametrize("trouble", ["drop_gateway", "reconnect_gateway", "close_gateway"])
async def test_a_lost_gateway_connection_is_resumed_and_nothing_missed(
    server: Discord, live: Bot, trouble: str
) -> None:
    await wait_until(lambda: len(server.sessions[0].log) > 1, "the guild is told")
    getattr(server, trouble)()
    await server.say(server.alice, server.dm(server.alice), "hello")
    await server.answer(server.dm(server.alice), ends("hello"))
    assert [each.resumes for each in server.sessions] == [1]


async def test_a_refused_first_connection_is_tried_again(
    server: Discord, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a new client: this one cannot be used again."""
    monkeypatch.setattr(supervise, "_FIRST_DELAY", 0.05)
    server.refuse_gateway(times=2)
    async with bot.listening():
        await server.connected()
        await server.say(server.alice, server.dm(server.alice), "hello")
        await server.answer(server.dm(server.alice), ends("hello"))


async def test_a_dead_rest_api_is_unreachable(server: Discord, bot: Bot) -> None:
    away = server.fail("GET", "/users/@me", times=99, drop=True)
    with pytest.raises(Unreachable):
        await bot.platform.receive(bot.deliver)
    away.times = 0
    server.fail("GET", "/gateway/bot", times=99, status=503)
    with pytest.raises(Unreachable):
        await bot.platform.receive(bot.deliver)


async def test_a_wrong_token_is_rejected_and_the_setting_named() -> None:
    async with (
        Discord() as server,
        a_platform("wrong", server.url) as platform,
    ):
        bot = Bot(platform)
        with pytest.raises(CredentialsRejected, match="DISCORD_TOKEN"):
            await platform.receive(bot.deliver)
        with pytest.raises(CredentialsRejected, match="DISCORD_TOKEN"):
            await bot.reply(await direct(server))


async def test_a_token_that_is_revoked_later_is_rejected(server: Discord, bot: Bot) -> None:
    receiving = asyncio.create_task(bot.platform.receive(bot.deliver))
    await server.connected()
    server.close_gateway(4004)
    with pytest.raises(CredentialsRejected, match="DISCORD_TOKEN"):
        await receiving


async def test_without_the_message_content_intent_the_switch_is_named() -> None:
    async with Discord() as server, bot_of(server) as bot:
        server.allow_intents()
        with pytest.raises(CredentialsRejected, match=r"DISCORD_TOKEN.*Message Content Intent"):
            await bot.platform.receive(bot.deliver)


async def test_health_tells_whether_the_gateway_is_connected_and_how_that_is_known(
    server: Discord, bot: Bot
) -> None:
    assert not (await bot.platform.health()).evidence["connected"]
    async with bot.listening():
        await server.connected()
        await wait_until(lambda: "GUILD_CREATE" in "".join(server.sessions[0].log), "the guild is told")

        async def connected() -> bool:
            health = await bot.platform.health()
            return health.state == "ok" and {"latency_ms", "last_event_s"} <= health.evidence.keys()

        await wait_until(connected, "healthy")
        health = await bot.platform.health()
        assert health.evidence["user"].startswith("agent")
        assert health.evidence["guilds"] == 1
        server.refuse_gateway(times=99)
        server.drop_gateway()

        async def reconnecting() -> bool:
            return (await bot.platform.health()).state == "degraded"

        await wait_until(reconnecting, "the loss is told")
        server.refuse_gateway(times=0)
    assert (await bot.platform.health()).state == "degraded"


async def test_health_is_down_when_the_gateway_is_gone_for_long_also_between_listeners(
    server: Discord, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "DOWN_SECONDS", 0.1)
    async with bot.listening():
        await server.connected()

        async def connected() -> bool:
            return (await bot.platform.health()).state == "ok"

        await wait_until(connected, "connected")

    async def down() -> bool:
        health = await bot.platform.health()
        return health.state == "down" and health.evidence["disconnected_s"] >= 0.1

    await wait_until(down, "down")


async def test_health_asks_rest_and_keeps_the_answer_a_while(
    server: Discord, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = (await bot.platform.health()).evidence
    assert evidence["probe_ms"] >= 0
    asked = server.count("GET", "/users/@me")
    await asyncio.gather(*(bot.platform.health() for _ in range(5)))
    assert server.count("GET", "/users/@me") == asked
    monkeypatch.setattr(platform_health, "FRESH_SECONDS", 0)
    server.fail("GET", "/users/@me", times=9, status=401)
    health = await bot.platform.health()
    assert health.state == "down"
    assert "DISCORD_TOKEN" in health.evidence["rest"]


@pytest.mark.parametrize("status", [None, 401, 503])
async def test_health_tells_how_old_the_answer_of_rest_is(
    server: Discord, bot: Bot, status: int | None
) -> None:
    await bot.platform.health()  # logs in
    bot.platform._probe._known = None
    if status:
        server.fail("GET", "/users/@me", status=status)
    first: float = (await bot.platform.health()).evidence["last_probe_s"]

    async def is_older() -> bool:
        seconds: float = (await bot.platform.health()).evidence["last_probe_s"]
        return seconds > first

    await wait_until(is_older, "the answer is older")


async def test_health_does_not_wait_long_for_rest(
    server: Discord, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discord_health, "PROBE_SECONDS", 0.1)
    server.fail("GET", "/users/@me", delay=30)
    health = await bot.platform.health()
    assert health.state == "degraded"
    assert "TimeoutError" in health.evidence["rest"]


async def test_a_reconnection_is_logged_as_a_warning_without_a_trace(
    server: Discord, live: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    def reconnections() -> list[logging.LogRecord]:
        return [each for each in caplog.records if str(each.msg).startswith("Attempting a reconnect")]

    server.refuse_gateway()
    server.drop_gateway()
    await wait_until(lambda: bool(reconnections()), "it is logged")
    assert {(each.levelname, each.exc_info) for each in reconnections()} == {("WARNING", None)}


# --- commands


async def test_agent_health_is_answered_to_the_caller_alone(server: Discord, live: Bot) -> None:
    for channel in (server.general, server.dm(server.alice)):
        shown = await server.command("agent-health", server.alice, channel)
        assert shown.ephemeral
        assert shown.content == "- 🟢 **redis** ok: ping ms 1"


async def test_a_long_health_report_is_split(server: Discord) -> None:
    async def examine() -> list[Health]:
        return [Health(name=f"part {number}", state="ok", evidence={"x": "y" * 80}) for number in range(60)]

    async with bot_of(server, examine) as bot, bot.listening():
        await server.connected()
        shown = await server.command("agent-health")
        await wait_until(lambda: "part 59" in shown.messages[-1].content, "all of it is shown")
        assert len(shown.messages) > 1
        assert all(each.ephemeral for each in shown.messages)
        assert all(MessageFlag.SUPPRESS_EMBEDS in each.flags for each in shown.messages)


async def test_a_command_that_fails_says_so(server: Discord) -> None:
    async def examine() -> list[Health]:
        raise RuntimeError("broken")

    async with bot_of(server, examine) as bot, bot.listening():
        await server.connected()
        shown = await server.command("agent-health")
        assert "did not work" in shown.content
        assert "broken" not in shown.content


async def test_a_press_that_fails_says_so(server: Discord, bot: Bot) -> None:
    """Fault: who pressed saw the bot think, for a quarter of an hour."""

    class Broken:
        async def decide(
            self, id: str, by: str, *, approve: bool, reason: str = "", name: str = ""
        ) -> Decided:
            raise LookupError(id)

        async def decide_in_words(self, order: TypedDecision, message: Message) -> str:
            raise AssertionError(order)

    bot.platform._commands = replace(bot.platform._commands, approvals=Broken())
    request = Approval(
        id="7f3a9c21", title="Do it", action="x", effect="", expires_at=0, approvers=(), asked_in="q"
    )
    async with bot.listening():
        await server.connected()
        await bot.reply(await direct(server), answer=fixed(request))
        [asked] = [each for each in server.messages(server.dm(server.alice)) if each.components]
        pressed = await server.click(server.alice, asked, "Approve")
    assert "Something went wrong." in pressed.content


async def test_commands_are_registered_once(server: Discord, bot: Bot) -> None:
    for times in range(1, 3):
        async with bot.listening():
            await server.connected()
            await wait_until(lambda: server.count("GET", COMMANDS) == times, "they are compared")  # noqa: B023
            await wait_until(lambda: server.count("PUT", COMMANDS) == 1, "they are registered")
        await wait_until(lambda: not server.gateway.connections, "the gateway is left")
    assert len(server.sessions) == 2
    assert server.count("PUT", COMMANDS) == 1


@pytest.mark.parametrize(("method", "status"), [("GET", 403), ("GET", 200), ("PUT", 403)])
async def test_commands_that_cannot_be_registered_stop_nothing_and_are_tried_again(
    server: Discord, bot: Bot, monkeypatch: pytest.MonkeyPatch, method: str, status: int
) -> None:
    """Also when Discord's answer (200) is nothing that discord.py can read."""
    monkeypatch.setattr(discord_commands, "SYNC_SECONDS", 0.01)
    fault = server.fail(method, COMMANDS, times=10**6, status=status)
    async with bot.listening():
        await server.connected()
        await server.say(server.alice, server.dm(server.alice), "hello")
        await server.answer(server.dm(server.alice), ends("hello"))
        await wait_until(lambda: fault.used >= 3, "it is tried again")
        fault.times = 0
        assert (await server.command("agent-health")).content


async def test_nobody_minds_what_discord_says_of_registered_commands(server: Discord, bot: Bot) -> None:
    server.fail("PUT", COMMANDS, status=200, after_applying=True)
    async with bot.listening():
        await server.connected()
        assert (await server.command("agent-health")).content
    assert server.count("PUT", COMMANDS) == 1


async def test_a_slow_registration_of_commands_holds_up_no_connection(server: Discord, bot: Bot) -> None:
    server.fail("GET", COMMANDS, delay=30)
    async with bot.listening():
        await server.connected()


async def test_details_of_the_application_that_cannot_be_read_stop_nothing(server: Discord, bot: Bot) -> None:
    """Login asks for them, to listen and to send, and needs the id alone."""
    server.rest.application_details = {"owner": None, "icon": 7}
    async with bot.listening():
        await server.connected()
        await bot.reply(await direct(server))
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]


async def test_an_event_that_cannot_be_read_costs_neither_the_connection_nor_the_next_message(
    server: Discord, bot: Bot
) -> None:
    """All the samples, over the socket; no interactions, since they would be answered."""
    heard: list[Event] = []

    async def deliver(event: Event) -> None:
        heard.append(event)

    receiving = asyncio.create_task(bot.platform.receive(deliver))
    await server.connected()
    for name in samples():
        data = sample(name)
        if data["event"] != "INTERACTION_CREATE":
            server.tell(data["event"], data["payload"])
    await server.say(server.alice, server.dm(server.alice), "the next")
    await wait_until(
        lambda: any(isinstance(each, Message) and each.text == "the next" for each in heard), "heard"
    )
    assert [each.resumes for each in server.sessions] == [0]
    await cancel(receiving)


async def test_a_session_whose_begin_cannot_be_read_is_begun_again(
    server: Discord, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is the one event which cannot be skipped."""
    monkeypatch.setattr(supervise, "_FIRST_DELAY", 0.05)
    ready = server.gateway._ready

    def broken_at_first(session: Session) -> Json:
        return ready(session) | ({"user": None} if len(server.sessions) == 1 else {})

    monkeypatch.setattr(server.gateway, "_ready", broken_at_first)
    async with bot.listening():
        await server.say(server.alice, server.dm(server.alice), "hello")
        await wait_until(lambda: len(server.sessions) == 2, "another session")
        await server.connected(1)
        await server.say(server.alice, server.dm(server.alice), "hello again")
        await server.answer(server.dm(server.alice), ends("hello again"))


async def test_a_command_that_cannot_be_read_is_apologised_for(server: Discord, live: Bot) -> None:
    broken = {"id": "1", "name": "agent-usage", "type": 1, "options": [7]}
    interaction, _ = server.interactions.send(Kind.COMMAND, server.alice, server.general, broken)
    await wait_until(lambda: bool(interaction.messages), "it is answered")
    assert "did not work" in interaction.messages[0].content


async def test_no_warning_says_that_voice_is_missing() -> None:
    """In a process of its own: discord.py warns once, when its first client is made."""
    code = "import discord; from bot.discord.client import Client; Client(discord.Intents.none())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


# --- the edges


async def test_discord_pys_addresses_are_put_back() -> None:
    before = (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY)
    async with a_platform("t", "http://127.0.0.1:9/api/v10/"):
        assert Route.BASE == "http://127.0.0.1:9/api/v10"
    assert before == (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY)


@pytest.mark.parametrize(
    "error", [aiohttp.ServerDisconnectedError(), ConnectionResetError(), TimeoutError()], ids=repr
)
def test_every_loss_of_connection_is_unreachable(error: Exception) -> None:
    with pytest.raises(Unreachable) as raised, translate_errors():
        raise error
    assert raised.value.__cause__ is error
    assert isinstance(raised.value, PlatformError)
