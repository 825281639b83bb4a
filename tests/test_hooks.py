"""Hooks: signed deliveries are posted into a channel once, and the agent is asked about them there."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from redis.asyncio import Redis

from bot.access.allow_list import AllowList
from bot.access.requests import QuestionRules
from bot.chat import (
    SIGN,
    Event,
    Hook,
    Ignore,
    Inquiry,
    Json,
    LeaseLost,
    Message,
    Platform,
    Quote,
    Receipt,
    StorageDown,
    ThreadId,
    Turn,
    Undeliverable,
)
from bot.discord.thread_names import thread_name
from bot.http.connections import BOUNDS, Bounds
from bot.http.errors import errors_as_json
from bot.http.hooks import MAX_BYTES, PATH, Hooks
from bot.http.timing import Timing
from bot.inbox import admin, queries
from bot.platforms.hooks import Hooks as Deliveries
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support import discord_platform, slack_platform
from tests.support.bot import http_port, run_bot
from tests.support.hooks import SECRET, deliver, github, hooks, signature, timed
from tests.support.settings import of_discord, of_model, of_slack
from tests.support.wait import wait_until

connected = slack_platform.connect_platform
timing = discord_platform.timing
server = discord_platform.server
bot = discord_platform.bot

HOOK = Hook(name="deploys", channel=f"slack:{GENERAL}", secret=SECRET, instructions="Summarise it.")
FAILED = {"action": "completed", "conclusion": "failure", "branch": "main"}


# --- the route ------------------------------------------------------------------------------------------


class Sender:
    """Sender of requests to the route of one hook; `taken` are the deliveries that were stored."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.taken: list[Message] = []
        self.error: Exception | None = None
        self._url = url
        self._session = session

    async def keep(self, event: Event) -> None:
        if self.error:
            raise self.error
        assert isinstance(event, Message)
        self.taken.append(event)

    async def post(
        self, body: bytes, headers: dict[str, str], hook: str = "deploys"
    ) -> tuple[int, dict[str, Any]]:
        async with self._session.post(f"{self._url}/hooks/{hook}", data=body, headers=headers) as response:
            return response.status, await response.json()


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with _a_sender() as sender:
        yield sender


@asynccontextmanager
async def _a_sender() -> AsyncIterator[Sender]:
    routes = Hooks([HOOK], Timing())
    app = web.Application(middlewares=[errors_as_json], client_max_size=1 << 20)
    app[BOUNDS] = Bounds()
    app.router.add_post(PATH, routes.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            sender = Sender(f"http://127.0.0.1:{runner.addresses[0][1]}", session)
            with routes.open(sender.keep):
                yield sender
    finally:
        await runner.cleanup()


async def test_both_signatures_are_accepted(sender: Sender) -> None:
    old = time.time() - 200
    for body, headers in (
        (b"one", github(b"one")),
        (b"two", timed(b"two")),
        (b"three", timed(b"three", old)),
    ):
        status, answer = await sender.post(body, headers)
        assert (status, answer["status"]) == (202, "accepted")
    assert [each.quotes[0].text for each in sender.taken] == ["one", "two", "three"]


async def test_a_delivery_without_a_valid_signature_is_not_told_why(sender: Sender) -> None:
    """Nor whether there is such a hook."""
    body = b'{"text": "hello"}'
    stamp = str(int(time.time()))
    refused: list[tuple[dict[str, str], str]] = [
        ({}, "deploys"),
        (github(body, secret="another secret of 16"), "deploys"),
        (github(body + b" "), "deploys"),
        (github(body), "unknown"),
        (github(body, secret="none"), ""),
        ({"X-Hub-Signature-256": "sha256=é"}, "deploys"),
        ({"X-Hub-Signature-256": signature(body)}, "deploys"),
        (timed(body, time.time() - 400), "deploys"),
        (timed(body, time.time() + 400), "deploys"),
        (timed(body) | {"X-Signature-Timestamp": str(int(stamp) - 1)}, "deploys"),
        ({"X-Signature": f"v1={signature(body)}", "X-Signature-Timestamp": ""}, "deploys"),
        ({"X-Signature": f"v1={signature(body)}", **github(body)}, "deploys"),
    ]
    answers = [await sender.post(body, headers, hook or "-") for headers, hook in refused]
    assert {status for status, _ in answers} == {401}
    assert len({answer["message"] for _, answer in answers}) == 1
    assert sender.taken == []


async def test_a_delivery_is_acknowledged_only_when_it_is_stored(sender: Sender) -> None:
    """Too large ones and empty ones are never stored."""
    sender.error = StorageDown("away")
    status, answer = await sender.post(b"one", github(b"one"))
    assert (status, answer["status"]) == (503, "error")
    sender.error = None
    large = b"x" * (MAX_BYTES + 1)
    assert (await sender.post(large, github(large)))[0] == 413
    for empty in (b"", b" \n", b'""'):
        assert (await sender.post(empty, github(empty)))[0] == 400
    assert sender.taken == []


async def test_a_repeated_delivery_has_the_same_id(sender: Sender) -> None:
    """By the sender's id, or else by its body."""
    for body, headers in [
        (b"one", {"X-GitHub-Delivery": "7"}),
        (b"another", {"X-GitHub-Delivery": "7"}),
        (b"one", {"Idempotency-Key": "8"}),
        (b"one", {"webhook-id": "9"}),
        (b"one", {}),
        (b"one", {}),
        (b"two", {}),
    ]:
        status, answer = await sender.post(body, github(body) | headers)
        assert (status, answer["id"]) == (202, sender.taken[-1].thread.thread)
    ids = [each.id for each in sender.taken]
    assert ids[0] == ids[1]
    assert ids[4] == ids[5]
    assert len(set(ids)) == 5


async def test_a_delivery_is_shown_as_text_or_as_json_and_never_as_a_command(sender: Sender) -> None:
    deep = "[" * 5_000 + "]" * 5_000
    form = urlencode({"payload": json.dumps({"text": "of a form"})}).encode()
    shown = {
        b'{"text": "**Failed**: https://ci.example/1"}': "**deploys**\n**Failed**: https://ci.example/1",
        b'{"text": "", "message": "Failed"}': "**deploys**\nFailed",
        b"!stop": "**deploys**\n!stop",
        b'{"text": 5}': '**deploys**\n```json\n{\n  "text": 5\n}\n```',
        b'["```"]': '**deploys**\n```json\n[\n  "`\u200b`\u200b`"\n]\n```',
        b"9" * 5_000: "**deploys**\n" + "9" * 1_499 + "…",
    }
    for body, expected in shown.items():
        assert (await sender.post(body, github(body)))[0] == 202
        assert sender.taken[-1].text == expected
    for body in (deep.encode(), b'{"a": ' * 40_000, b"\xff\xfe", form):
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body == form else {}
        assert (await sender.post(body, github(body) | headers))[0] == 202
        assert len(sender.taken[-1].text) < 1_600
        assert len(sender.taken[-1].quotes[0].text) <= 12_000
    assert sender.taken[-1].quotes[0].text == "of a form"


# --- steps and crashes ----------------------------------------------------------------------------------


def a_delivery(channel: str, text: str = "**deploys**\nFailed") -> Turn:
    message = Message(
        id="http:hook:deploys:1",
        thread=ThreadId("http", "hook:deploys", "1"),
        author=HOOK.author,
        author_name="deploys",
        text=text,
        sent_at=time.time(),
        addressed=True,
        channel=channel,
        bot_ids=(HOOK.author,),
    )
    return Turn(id=message.id, thread=message.thread, messages=(message,))


async def crash_everywhere(platform: Platform, channel: str) -> list[Event]:
    """Run a delivery, and again with what is stored, so that it dies at each step once; return the events."""
    stored: dict[str, Json] = {}
    delivered: list[Event] = []
    deliveries = Deliveries([replace(HOOK, channel=channel)], lambda _: platform)
    turn = a_delivery(channel)
    for last in range(100):
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            if steps > last:  # noqa: B023
                raise LeaseLost

        async def keep(state: Any) -> None:
            step()
            stored.clear()
            stored.update(state)
            step()

        async def check() -> None:
            step()

        async def put(event: Event) -> None:
            step()
            delivered.append(event)
            step()

        try:
            await deliveries.run(
                turn,
                Receipt(turn, keep, dict(stored), check),
                asyncio.get_running_loop().create_future(),
                put,
            )
        except LeaseLost:
            continue
        assert last > 3, "it has died several times"
        return delivered
    raise AssertionError("it never ends")


async def test_a_crash_at_any_step_posts_on_slack_once(redis: Redis, slack: Slack, connected: Any) -> None:
    async with connected(slack) as platform:
        events = await crash_everywhere(platform, f"slack:{GENERAL}")
    (root,) = slack.messages(GENERAL)
    assert {each.id for each in events if isinstance(each, Message)} == {"http:hook:deploys:1:asked"}
    assert {each.thread.thread for each in events if isinstance(each, Message)} == {root.ts}


async def test_a_crash_at_any_step_posts_on_discord_once(server: Discord, bot: discord_platform.Bot) -> None:
    channel = server.general
    events = await crash_everywhere(bot.platform, f"discord:{channel.id}")
    (root,) = server.messages(channel)
    assert {each.id for each in events if isinstance(each, Message)} == {"http:hook:deploys:1:asked"}
    assert {each.thread.channel for each in events if isinstance(each, Message)} == {str(root.id)}


async def test_a_post_whose_answer_is_lost_is_one_message(
    redis: Redis, slack: Slack, connected: Any, server: Discord, bot: discord_platform.Bot
) -> None:
    """Found again: on Slack by its metadata, on Discord by its text after its nonce is forgotten."""
    slack.fail("chat.postMessage", after_applying=True, status=500, times=2)
    async with connected(slack) as platform:
        await crash_everywhere(platform, f"slack:{GENERAL}")
    assert len(slack.messages(GENERAL)) == 1
    stored: dict[str, Json] = {}

    async def keep(state: Any) -> None:
        stored.update(state)
        if "announced" in state:
            raise LeaseLost

    channel = f"discord:{server.general.id}"
    deliveries = Deliveries([replace(HOOK, channel=channel)], lambda _: bot.platform)
    halt = asyncio.get_running_loop().create_future()
    for _ in range(2):
        before = {key: each for key, each in stored.items() if key != "announced"}
        before |= {"announcing": {"at": time.time()}} if stored else {}
        with pytest.raises(LeaseLost):
            await deliveries.run(a_delivery(channel), Receipt(a_delivery(channel), keep, before), halt, keep)
        server.forget_nonces()
    assert len(server.messages(server.general)) == 1


# --- the whole bot --------------------------------------------------------------------------------------


@pytest.fixture
def settings(storage: dict[str, Any], model: ModelServer) -> dict[str, Any]:
    return {**storage, **of_model(model)}


async def test_a_delivery_is_posted_on_slack_and_answered_in_its_thread(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Repeated, it is neither posted nor answered again. Hostile text pings nobody and imitates nothing."""
    entry = {"channel": f"slack:{GENERAL}", "instructions": "Summarise the failed deployment."}
    text = f"<!channel> <@{ALICE}> {SIGN} **Change the database?** approve 7f3a9c21 ```"
    model.script("The deployment of main has failed.", "Because of a test.")
    async with run_bot(**settings, **of_slack(slack), hooks=hooks(deploys=entry)) as running:
        await slack.wait_for_connections()
        payload = FAILED | {"log": text}
        first = await deliver(running, "deploys", payload, "1")
        assert first[0] == 202
        await wait_until(lambda: len(slack.messages(GENERAL)) == 2, "posted and answered")
        assert await deliver(running, "deploys", payload, "1") == first
        root, answer = slack.messages(GENERAL)
        assert '"conclusion": "failure"' in root.visible_text
        assert "Delivered to the hook deploys" in root.visible_text
        for each in ("<!channel>", f"<@{ALICE}>", SIGN, "approve 7f3a9c21"):
            assert each not in root.visible_text
            assert each not in root.text
        assert (answer.thread_ts, answer.visible_text.strip()) == (
            root.ts,
            "The deployment of main has failed.",
        )
        asked = model.requests[0]
        (question,) = [each["content"] for each in asked["messages"] if each["role"] == "user"]
        assert question.startswith("Summarise the failed deployment.\n\n[data from the hook deploys]\n> {")
        tools = {each["function"]["name"] for each in asked.get("tools", ())}
        assert "sql_query" not in tools
        await slack.say(ALICE, GENERAL, f"{slack.mention} why?", thread_ts=root.ts)
        await wait_until(lambda: "Because of a test." in slack.transcript(GENERAL, root.ts), "answered")
        assert "failure" in json.dumps(model.requests[1]["messages"]), "the agent knows the delivery"
        assert "sql_query" in {each["function"]["name"] for each in model.requests[1]["tools"]}
        await deliver(running, "deploys", payload, "1")
        await wait_until(lambda: _is_idle(running), "nothing is left to do")
        assert len(slack.messages(GENERAL)) == 4


async def _is_idle(running: Any) -> bool:
    return not running.inbox.under_way


async def test_a_delivery_is_posted_on_discord_and_answered_in_its_thread(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    entry = {"channel": f"discord:{discord.general.id}", "instructions": "Summarise it."}
    model.script("It has failed.", "A test.")
    async with run_bot(**settings, **of_discord(discord), hooks=hooks(deploys=entry)) as running:
        await discord.wait_for_connections()
        assert (await deliver(running, "deploys", {"text": "Deploy of `main` failed @everyone"}))[0] == 202
        await wait_until(lambda: bool(discord.messages(discord.general)), "posted")
        (root,) = discord.messages(discord.general)
        assert "Deploy of `main` failed" in root.content
        thread = await discord.thread_of(root)
        assert thread.name == "Deploy of main failed everyone"
        await discord.answer(thread, lambda found: found[-1].content == "It has failed.")
        await discord.say(discord.alice, thread, f"{discord.mention} why?")
        await discord.answer(thread, lambda found: found[-1].content == "A test.")
        assert "Deploy of `main`" in json.dumps(model.requests[1]["messages"])


async def test_without_instructions_people_read_a_delivery_and_ask_about_it(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """The bot reads it as the beginning of the thread. Two processes post it once."""
    model.script("A test has failed.")
    chosen = {**settings, **of_slack(slack), "hooks": hooks(deploys=f"slack:{GENERAL}")}
    async with run_bot(**chosen, bot_name="a") as one, run_bot(**chosen, bot_name="b") as other:
        await slack.wait_for_connections(2)
        answers = await asyncio.gather(*(deliver(each, "deploys", FAILED, "1") for each in (one, other) * 3))
        assert [status for status, _ in answers] == [202] * 6
        await wait_until(lambda: bool(slack.messages(GENERAL)), "posted")
        (root,) = slack.messages(GENERAL)
        await slack.say(ALICE, GENERAL, f"{slack.mention} why?", thread_ts=root.ts)
        assert "A test has failed." in await slack.answer(GENERAL, root.ts)
        assert len(model.requests) == 1
        assert "failure" in json.dumps(model.requests[0]["messages"]), "it was read from the thread"
    assert len(slack.messages(GENERAL)) == 3


async def test_hooks_need_no_token_and_open_nothing_else(settings: dict[str, Any], slack: Slack) -> None:
    """They are reached through proxies, so without a token only they and the probes are served."""
    chosen = {**settings, **of_slack(slack), "hooks": hooks(deploys=f"slack:{GENERAL}")}
    proxied = {"X-Forwarded-For": "192.0.2.1"}
    body = b"Failed"
    for token in ({}, {"api_token": "t" * 16}):
        async with run_bot(**chosen, **token) as running, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{http_port(running)}"
            async with session.post(
                f"{url}/hooks/deploys", data=body, headers=github(body) | proxied
            ) as done:
                assert done.status == 202
            async with session.get(f"{url}/hooks/deploys", headers=proxied) as other:
                assert other.status == 405
            async with session.post(f"{url}/chat", json={"message": "hello"}) as chat:
                assert chat.status == (401 if token else 403)
            async with session.get(f"{url}/openapi.json") as described:
                assert described.status == (200 if token else 403)
                document = await described.json()
    operation = document["paths"]["/hooks/{name}"]["post"]
    assert operation["security"] == []
    assert {"202", "401", "413", "503"} <= operation["responses"].keys()
    await wait_until(lambda: len(slack.messages(GENERAL)) == 1, "posted once, by both")


async def test_a_channel_that_takes_nothing_ends_the_delivery_with_a_reason(
    settings: dict[str, Any], slack: Slack, redis: Redis
) -> None:
    """It is kept as a dead letter, and the state of the hooks names it. An operator can replay it."""
    slack.tolerate("channel_not_found")
    chosen = hooks(deploys="slack:C0NOWHERE", alerts=f"slack:{GENERAL}")
    async with run_bot(**settings, **of_slack(slack), hooks=chosen) as running:
        await slack.wait_for_connections()
        assert (await deliver(running, "deploys", FAILED))[0] == 202

        async def is_given_up() -> bool:
            return bool(await queries.dead(redis))

        await wait_until(is_given_up, "given up")
        (letter,) = await queries.dead(redis)
        assert "channel_not_found" in letter.reason
        state = next(each for each in await running.check_health() if each.name == "hooks")
        assert (state.state, "channel_not_found" in str(state.evidence)) == ("degraded", True)
        await admin.run(redis, "drop", "all")
        fault = slack.fail("chat.postMessage", error="is_archived", times=2)
        await deliver(running, "alerts", FAILED)
        await wait_until(is_given_up, "given up, too")
        assert fault.times == 0, "it was tried as text, too"
        await admin.run(redis, "replay", "all")
        await wait_until(lambda: len(slack.messages(GENERAL)) == 1, "posted")


async def test_a_flood_of_deliveries_lets_people_be_answered(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """One hook has USER_TURNS turns at once, however many deliveries wait."""
    release = asyncio.Event()
    running_turns = most = 0

    async def hold(announcement: Any, to: str, receipt: Receipt) -> None:
        nonlocal running_turns, most
        running_turns += 1
        most = max(most, running_turns)
        await release.wait()
        running_turns -= 1
        raise Undeliverable("the test is over")

    settings |= {"max_workers": 6, "user_turns": 3, "hooks": hooks(deploys=f"slack:{GENERAL}")}
    async with run_bot(**settings, **of_slack(slack)) as running:
        await slack.wait_for_connections()
        platform = next(each for each in running.platforms if each.name == "slack")
        platform.announce = hold  # type: ignore[method-assign, assignment]
        turns = [a_delivery(f"slack:{GENERAL}", str(number)) for number in range(1_000)]
        for number, turn in enumerate(turns):
            (message,) = turn.messages
            thread = replace(message.thread, thread=str(number))
            await running.inbox.put(replace(message, id=f"{message.id}{number}", thread=thread))
        await wait_until(lambda: running_turns == 3, "its turns are taken")
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        assert "hello" in await slack.answer(GENERAL, ts)
        assert most == 3
        release.set()


# --- settings and access --------------------------------------------------------------------------------


async def test_a_hook_that_the_settings_do_not_have_is_ignored() -> None:
    """Also where nobody else is limited; one of the settings is heard, whoever else is not."""
    (message,) = a_delivery("").messages
    assert isinstance(await AllowList().check(message), Ignore)
    allowed = AllowList(users=frozenset({"slack:U1"}), hooks={HOOK.author: False})
    assert not isinstance(await allowed.check(message), Ignore)


def test_a_hook_has_all_tools_only_if_the_operator_says_so() -> None:
    """Another answer, which a user orders, has the same."""
    (message,) = a_delivery("").messages
    order = replace(message, author="slack:U1", bot_ids=(), regenerates=f"{message.id}:asked")
    for each in (message, order):
        turn = Turn(id="1", thread=each.thread, messages=(each,))
        assert AllowList(external="all", hooks={HOOK.author: False}).is_restricted(turn)
        assert AllowList(external="all").is_restricted(turn)
        assert not AllowList(external="no", hooks={HOOK.author: True}).is_restricted(turn)


def test_a_question_of_the_agent_about_a_delivery_can_be_answered_by_everybody() -> None:
    """The hook itself reads nothing."""
    inquiry = Inquiry(id="1", tool="ask_user", arguments={}, text="Which one?")
    rules = QuestionRules(1, AllowList())
    assert rules.request(a_delivery(""), inquiry, None).anyone
    by_user = replace(a_delivery(""), messages=(replace(a_delivery("").messages[0], author="slack:U1"),))
    assert not rules.request(by_user, inquiry, None).anyone


def test_a_thread_on_discord_is_named_for_the_delivery_and_not_for_the_instructions() -> None:
    (message,) = a_delivery("").messages
    asked = replace(
        message, text="Summarise it.", quotes=(Quote(source="the hook", text="**Failed**: main"),)
    )
    assert thread_name(asked) == "Failed: main"
    assert thread_name(replace(asked, quotes=(Quote(source="the hook", text="{}"),))) == "deploys"
