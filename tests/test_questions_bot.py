"""A question of the agent with the whole bot: asked in a chat, answered by a user, and the answer goes on."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.access.requests import RequestStore
from bot.app import Intervals
from bot.chat import SIGN
from bot.commands.question_texts import ANSWER_STOPPED
from bot.inbox import scripts
from bot.main import PLATFORMS
from bot.tools.toolset import OPEN_TOOLS
from tests.crash.redis_proxy import RedisProxy
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, Slack
from tests.support.approvals import tool_results
from tests.support.bot import http_port, run_bot
from tests.support.http_caller import Caller
from tests.support.questions import DiscordRoom, Room, SlackRoom, asked, asking, last_message, told
from tests.support.settings import of_discord, of_model, of_slack
from tests.support.wait import wait_until

OFTEN = Intervals(expire=0.1)


@pytest.fixture
def settings(storage: dict[str, Any], model: ModelServer) -> dict[str, Any]:
    """A bot with a model; Redis is empty."""
    return {**storage, **of_model(model)}


@pytest.fixture(params=["slack", "discord"])
def room(request: pytest.FixtureRequest) -> Room:
    """A thread on each platform."""
    server = request.getfixturevalue(request.param)
    if isinstance(server, Slack):
        return SlackRoom(server)
    assert isinstance(server, Discord)
    return DiscordRoom(server)


async def test_a_press_of_the_user_who_is_asked_continues_the_answer(
    settings: dict[str, Any], model: ModelServer, room: Room
) -> None:
    """Somebody else is told privately why not. Then the buttons go, and the answer stays."""
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking(), "Pears it is.")
        await room.ask("buy fruit")
        await asked(room)
        (form,) = room.forms()
        assert "fruit" in form
        assert room.mentions["alice"] in form
        assert room.options() == ["Apples", "Pears"]
        assert "This question is for" in await room.press("bob", 0)
        assert len(model.requests) == 1
        assert "Your answer: Pears" in await room.press("alice", 1)
        await told(room, "Pears it is.")
        assert tool_results(model) == ["The user has chosen: Pears"]
        (form,) = room.forms()
        assert f"{room.mentions['alice']} answered: Pears" in form
        assert not room.options()


async def test_an_answer_in_words_continues_as_the_next_message(
    settings: dict[str, Any], model: ModelServer, room: Room
) -> None:
    """The model reads the message itself, so nothing of it is lost; the question shows its beginning."""
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking(), "Plums, then.", "Good.")
        await room.ask("buy fruit")
        await asked(room)
        await room.say("alice", "neither, *plums* please")
        await told(room, "Plums, then.")
        call, result, answer = model.requests[-1]["messages"][-3:]
        assert call["tool_calls"][0]["function"]["name"] == "ask_user"
        assert "answered in words" in result["content"]
        assert answer == {"role": "user", "content": "neither, *plums* please"}
        (form,) = room.forms()
        assert f"{room.mentions['alice']} answered: neither, " in form
        assert not room.options()
        await room.say("alice", "thanks")
        await told(room, "Good.")
        assert "answered in words" in str(model.requests[-1]["messages"])  # and only once


async def test_more_options_than_buttons_are_a_menu(
    settings: dict[str, Any], model: ModelServer, room: Room
) -> None:
    """Up to 25; a label of the longest length is whole."""
    options = [f"Number {number} " + "x" * 60 for number in range(25)]
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking(options=options), "Done.")
        await room.ask("choose")
        await asked(room)
        assert room.options() == options
        await room.press("alice", 24)
        await told(room, "Done.")
        assert tool_results(model) == [f"The user has chosen: {options[24]}"]
        assert not room.options()


async def test_a_question_without_options_is_answered_in_words_only(
    settings: dict[str, Any], model: ModelServer, room: Room
) -> None:
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking("How many?", ()), "Three.")
        await room.ask("buy fruit")
        await asked(room)
        assert not room.options()
        assert "Write your answer here" in room.forms()[0]
        await room.say("alice", "3")
        await told(room, "Three.")
        assert "answered: 3" in room.forms()[0]


async def test_the_words_of_somebody_else_are_no_answer(
    settings: dict[str, Any], model: ModelServer, room: Room
) -> None:
    """They get an answer of their own, and the question still waits."""
    async with run_bot(**settings, **room.settings, follow_up="always"):
        await room.connect()
        model.script(asking(), "It is sunny.", "Apples it is.")
        await room.ask("buy fruit")
        await asked(room)
        await room.say("bob", "and the weather?")
        await told(room, "It is sunny.")
        assert "nobody has answered it yet" in str(model.requests[-1]["messages"])
        assert room.options() == ["Apples", "Pears"]
        await room.press("alice", 0)
        await told(room, "Apples it is.")
        assert tool_results(model)[-1] == "The user has chosen: Apples"
        assert len(room.forms()) == 1


@pytest.mark.parametrize("how", ["pressed", "typed"])
async def test_anybody_in_the_thread_answers_a_question_to_everybody(
    settings: dict[str, Any], model: ModelServer, room: Room, how: str
) -> None:
    """It says so, and who has answered."""
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking(anyone=True), "Apples it is.")
        await room.ask("buy fruit")
        await asked(room)
        assert "everybody here" in room.forms()[0]
        if how == "pressed":
            await room.press("bob", 0)
        else:
            await room.say("bob", "Apples")
        await told(room, "Apples it is.")
        assert f"{room.mentions['bob']} answered: Apples" in room.forms()[0]
        if how == "pressed":
            assert tool_results(model) == ["Another user in the conversation has chosen: Apples"]


async def test_somebody_who_may_not_talk_to_the_bot_answers_no_question_to_everybody(
    settings: dict[str, Any], model: ModelServer, room: Room
) -> None:
    """A press is subject to the allow-lists, as a message is."""
    settings |= {"allowed_users": ",".join(_authors(room, "alice"))}
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking(anyone=True))
        await room.ask("buy fruit")
        await asked(room)
        assert "ALLOWED_USERS" in await room.press("bob", 0)
        assert room.options() == ["Apples", "Pears"]


@pytest.mark.parametrize("how", ["pressed", "typed"])
async def test_somebody_who_has_lost_access_since_does_not_answer(
    settings: dict[str, Any],
    model: ModelServer,
    room: Room,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The question waits, and the model is not asked."""
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking())
        await room.ask("buy fruit")
        await asked(room)
    settings |= {"allowed_users": ",".join(_authors(room, "bob"))}
    async with run_bot(**settings, **room.settings):
        await room.connect()
        if how == "pressed":
            assert "ALLOWED_USERS" in await room.press("alice", 0)
        else:
            await room.say("alice", "Apples")
            await wait_until(lambda: "turn ignored" in caplog.messages, "no mention, so no refusal either")
        assert room.options() == ["Apples", "Pears"]
        assert len(model.requests) == 1


MARKUP = (
    "<!channel> *b* _i_ `c`",
    "<@U0BOB> @everyone",
    "[a](https://example.com)",
    "\\\u0000 | <b> & :lock:",
    "🔏 approve 00000000",
)


async def test_markup_in_an_option_is_text(settings: dict[str, Any], model: ModelServer, room: Room) -> None:
    """On the buttons, below the question and privately: nothing is a ping, a link or a request."""
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking(options=MARKUP), *["Next."] * 5)
        await room.ask("choose")
        await asked(room)
        shown = room.options()
        assert len(shown) == 5
        assert not any(SIGN in each for each in shown)
        assert shown[2] == "[a](https://example.com)"
        private = await room.press("alice", 0)
        await told(room, "Next.")
        assert tool_results(model) == [f"The user has chosen: {MARKUP[0]}"]
        assert room.platform == "discord" or "<!channel>" not in private + room.forms()[0]
        assert not room.options()


@pytest.mark.parametrize(
    "options",
    [["x"] * 100, [str(number) for number in range(100)], [""], ["a", "A"], ["x" * 101], ["\u200b"]],
)
async def test_options_that_no_platform_shows_go_back_to_the_model(
    settings: dict[str, Any], model: ModelServer, room: Room, options: list[str]
) -> None:
    """It corrects its call, and the user sees one question."""
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking(options=options), asking(options=[]), "Done.")
        await room.ask("choose")
        await asked(room)
        assert "invalid arguments" in tool_results(model)[0]
        assert not room.options()
        await room.say("alice", "any")
        await told(room, "Done.")
        assert "answered: any" in room.forms()[0]


async def test_words_that_come_while_another_turn_runs_are_the_answer_after_it(
    settings: dict[str, Any], model: ModelServer, room: Room
) -> None:
    gate = asyncio.Event()
    async with run_bot(**settings, **room.settings, follow_up="always"):
        await room.connect()
        model.script(asking(), Script(text="It is sunny.", gate=gate), "Pears it is.")
        await room.ask("buy fruit")
        await asked(room)
        await room.say("bob", "and the weather?")
        await wait_until(lambda: len(model.requests) == 2, "the other turn runs")
        await room.say("alice", "Pears")
        assert room.options() == ["Apples", "Pears"]
        gate.set()
        await told(room, "Pears it is.")
        assert f"{room.mentions['alice']} answered: Pears" in room.forms()[0]
        assert "It is sunny." in room.transcript()


@pytest.mark.parametrize("how", ["pressed", "typed"])
async def test_in_a_direct_message_on_slack_a_button_or_words_in_its_thread_answer(
    settings: dict[str, Any], model: ModelServer, slack: Slack, how: str
) -> None:
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections()
        direct = slack.dm(ALICE)
        model.script(asking(), "So be it.")
        ts = await slack.say(ALICE, direct, "buy fruit")
        await slack.answer(direct, ts, until=lambda shown: "fruit" in shown)
        (form,) = [each for each in slack.bot_replies(direct, ts) if each.blocks]
        if how == "typed":
            await slack.say(ALICE, direct, "Pears", thread_ts=ts)
        else:
            await slack.press(ALICE, direct, form.ts, "answer:1")
        await slack.answer(direct, ts, until=lambda shown: "So be it." in shown)
        assert f"<@{ALICE}> answered: Pears" in form.visible_text


def _authors(room: Room, *names: str) -> list[str]:
    return [f"{room.platform}:{room.mentions[each].strip('<@>')}" for each in names]


async def test_presses_at_the_same_time_are_one_answer(
    settings: dict[str, Any], model: ModelServer, room: Room
) -> None:
    """The second one reads what was answered."""
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking(anyone=True), "So be it.")
        await room.ask("buy fruit")
        await asked(room)
        await asyncio.gather(room.press("alice", 0), room.press("alice", 1), room.press("bob", 1))
        await told(room, "So be it.")
        (result,) = tool_results(model)
        chosen = result.rpartition(" ")[2]
        assert f"answered: {chosen}" in room.forms()[0]
        assert len(model.requests) == 2


async def test_nobody_answers_in_time(settings: dict[str, Any], model: ModelServer, room: Room) -> None:
    """The answer goes on without, and the question says that it is over."""
    async with run_bot(PLATFORMS, OFTEN, **settings, **room.settings, question_hours=0.5 / 3600):
        await room.connect()
        model.script(asking(), "I take none.")
        await room.ask("buy fruit")
        await asked(room)
        await told(room, "I take none.")
        assert tool_results(model)[0].startswith("Nobody answered in time.")
        assert "Nobody answered this in time" in room.forms()[0]
        assert not room.options()


async def test_a_stop_ends_a_question(settings: dict[str, Any], model: ModelServer, room: Room) -> None:
    """Not one of somebody else; the model is not asked for it, and the next message is only a message."""
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking(), "It is noon.")
        await room.ask("buy fruit")
        await asked(room)
        await room.say("bob", "!stop")
        await room.say("alice", "!stop")
        await wait_until(lambda: "Stopped by" in room.forms()[0], "it is stopped")
        assert room.mentions["alice"] in room.forms()[0].rpartition("Stopped by")[2]
        assert not room.options()
        assert len(model.requests) == 1
        await room.say("alice", "what time is it?")
        await told(room, "It is noon.")
        assert last_message(model) == {"role": "user", "content": "what time is it?"}
        assert "answered in words" not in str(model.requests[-1]["messages"])


async def test_a_stop_while_an_answer_in_words_is_taken_ends_the_question(
    settings: dict[str, Any], model: ModelServer, room: Room, redis: Redis, redis_url: str
) -> None:
    """Fault: its buttons stayed, and said for a day that it has just been answered."""
    claimed, go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def hold(step: str) -> AsyncIterator[None]:
        yield
        if step == "CLAIM":
            claimed.set()
            await go_on.wait()

    claim = await redis.script_load(scripts.CLAIM)
    async with RedisProxy(redis_url.removeprefix("unix://"), {claim: "CLAIM"}) as proxy:
        proxy.steps = hold
        async with run_bot(**settings | {"redis_url": proxy.url}, **room.settings):
            await room.connect()
            model.script(asking(), "It is noon.")
            await room.ask("buy fruit")
            await asked(room)
            await room.say("alice", "Pears")
            await wait_until(claimed.is_set, "the turn is taken for the answer")
            await room.say("alice", "!stop")
            await wait_until(lambda: ANSWER_STOPPED in room.forms()[0], "the question is over")
            assert not room.options()
            await told(room, "Stopped.")
            assert len(model.requests) == 1
            await room.say("alice", "what time is it?")
            await told(room, "It is noon.")
            assert "nobody has answered it yet" not in str(model.requests[-1]["messages"])
            assert len(room.forms()) == 1
            go_on.set()


@pytest.mark.parametrize("change", ["edited", "deleted"])
async def test_a_question_ends_with_the_message_that_it_is_about(
    settings: dict[str, Any], model: ModelServer, room: Room, change: str
) -> None:
    """The new wording is answered as such, not taken for the answer to the old question."""
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking(), "No fruit, then.")
        await room.ask("buy fruit")
        await asked(room)
        if change == "edited":
            room.edit("buy nothing")
        else:
            room.remove()
        words = f"This is no longer needed: the original message was {change}"
        await wait_until(lambda: words in room.forms()[0], "it has ended")
        assert not room.options()
        if change == "edited":
            await told(room, "No fruit, then.")
            assert "buy nothing" in last_message(model)["content"]
        assert "answered" not in room.forms()[0]
        assert len(model.requests) == 1 + (change == "edited")


@pytest.mark.parametrize("how", ["pressed", "typed"])
async def test_a_question_outlives_the_process(
    settings: dict[str, Any], model: ModelServer, room: Room, how: str
) -> None:
    """Asked by one process, answered when another one runs."""
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking(), "Apples it is.")
        await room.ask("buy fruit")
        await asked(room)
    async with run_bot(**settings, **room.settings):
        await room.connect()
        if how == "pressed":
            await room.press("alice", 0)
        else:
            await room.say("alice", "Apples")
        await told(room, "Apples it is.")
        assert f"{room.mentions['alice']} answered: Apples" in room.forms()[0]


async def test_one_question_follows_another(settings: dict[str, Any], model: ModelServer, room: Room) -> None:
    """Each gets its own answer; a second call in the same step has to wait."""
    both = Script(tool_calls=[*asking("First?").tool_calls, *asking("Second?").tool_calls])
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(both, asking("Second?"), "Both are settled.")
        await room.ask("buy fruit")
        await asked(room)
        assert "First?" in room.forms()[0]
        await room.press("alice", 0)
        await asked(room, 2)
        assert "only one can be requested at a time" in "\n".join(tool_results(model))
        await room.say("alice", "Pears")
        await told(room, "Both are settled.")
        assert ["answered: Apples" in room.forms()[0], "answered: Pears" in room.forms()[1]] == [True, True]


async def test_words_from_before_the_question_are_no_answer(
    settings: dict[str, Any], model: ModelServer, room: Room
) -> None:
    """Nobody can have read it when they were written."""
    gate = asyncio.Event()
    late = Script(tool_calls=asking().tool_calls, gate=gate)
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(late, "It is sunny.")
        await room.ask("buy fruit")
        await wait_until(lambda: len(model.requests) == 1, "the answer is under way")
        await room.say("alice", "and the weather?")
        gate.set()
        await told(room, "It is sunny.")
        assert room.options() == ["Apples", "Pears"]


async def test_over_http_the_next_message_answers(settings: dict[str, Any], model: ModelServer) -> None:
    """The options are a list; what was answered is repeated."""
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        model.script(asking(), "Pears it is.")
        shown = await caller.ask("buy fruit")
        assert "Which **fruit**?" in shown
        assert "1. Apples\n2. Pears" in shown
        assert "Write your answer in your next message." in shown
        answer = await caller.ask("Pears")
        assert "you answered: Pears" in answer
        assert answer.endswith("Pears it is.")
        assert "http:api" not in shown + answer


async def test_the_page_gets_a_question_as_an_event(settings: dict[str, Any], model: ModelServer) -> None:
    """With its options for buttons, and again with the answer."""
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        model.script(asking(), "Pears it is.")
        (question,) = await _questions(session, http_port(bot), "buy fruit")
        assert question["options"] == ["Apples", "Pears"]
        assert question["state"] == "asked"
        (answered,) = await _questions(session, http_port(bot), "Pears")
        assert (answered["id"], answered["state"], answered["answer"]) == (
            question["id"],
            "answered",
            "Pears",
        )


async def _questions(session: aiohttp.ClientSession, port: int, message: str) -> list[dict[str, Any]]:
    """Return the questions among the events of an answer."""
    body = {"message": message, "thread_id": "t"}
    headers = {"Accept": "text/event-stream"}
    async with session.post(f"http://127.0.0.1:{port}/chat", json=body, headers=headers) as response:
        frames = (await response.text()).split("\n\n")
    data = [frame.partition("\ndata: ")[2] for frame in frames if frame.startswith("event: question\n")]
    return [json.loads(each) for each in data]


async def test_a_stop_over_http_ends_a_question(
    settings: dict[str, Any], model: ModelServer, redis: Redis
) -> None:
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        model.script(asking(), "It is noon.")
        await caller.ask("buy fruit")
        assert await caller.ask("!stop") == "Stopped."
        assert await caller.ask("what time is it?") == "It is noon."
        assert len(model.requests) == 2


async def test_a_question_is_no_approval(settings: dict[str, Any], model: ModelServer) -> None:
    """Its id decides nothing, over HTTP or in words."""
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        model.script(asking(options=["Approve", "Reject"]))
        (question,) = await _questions(session, http_port(bot), "buy fruit")
        status, words = await caller.decide(question["id"], approve=True)
        assert (status, "There is no open request" in words) == (404, True)
        assert "There is no open request" in await caller.ask(f"approve {question['id']}")
        assert len(model.requests) == 1


async def test_the_answer_of_a_guest_goes_on_with_the_tools_of_a_guest(
    settings: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """Fault: the turn of a decision was that of a member, with the database."""
    room = SlackRoom(slack)
    slack.describe(ALICE, is_restricted=True)
    async with run_bot(**settings, **room.settings, allow_external="chat"):
        await room.connect()
        model.script(asking(), "Apples it is.")
        await room.ask("buy fruit")
        await asked(room)
        await room.press("alice", 0)
        await told(room, "Apples it is.")
        offered = [{each["function"]["name"] for each in request["tools"]} for request in model.requests]
        assert offered[0] == offered[1] <= OPEN_TOOLS


async def test_a_press_on_slack_is_stored_with_the_display_name(
    settings: dict[str, Any], model: ModelServer, slack: Slack, redis: Redis
) -> None:
    """Other platforms show it; the payload of a press has only the handle."""
    room = SlackRoom(slack)
    slack.describe(ALICE, profile={"display_name": "Alice Doe"})
    async with run_bot(**settings, **room.settings):
        await room.connect()
        model.script(asking(), "Apples it is.")
        await room.ask("buy fruit")
        await asked(room)
        (waiting,) = await RequestStore(redis).undecided()
        await room.press("alice", 0)
        await told(room, "Apples it is.")
    decided = await RequestStore(redis).read(waiting.request.id)
    assert decided
    assert decided.request.names[decided.request.by] == "Alice Doe"


async def test_in_a_direct_message_on_discord_the_next_message_answers(
    settings: dict[str, Any], model: ModelServer, discord: Discord
) -> None:
    """Its thread never ends."""
    direct = discord.dm(discord.alice)
    async with run_bot(**settings, **of_discord(discord)):
        await discord.wait_for_connections()
        model.script(asking(), "Pears it is.")
        await discord.say(discord.alice, direct, "buy fruit")
        await discord.answer(direct, lambda shown: bool(shown[-1].buttons))
        await discord.say(discord.alice, direct, "Pears")
        shown = await discord.answer(direct, lambda shown: shown[-1].content == "Pears it is.")
        assert "answered: Pears" in shown[0].content


async def test_where_the_bot_answers_by_replies_a_reply_to_the_question_answers(
    settings: dict[str, Any], model: ModelServer, discord: Discord
) -> None:
    """Even one that pings nobody; and the question says so."""
    discord.general.denied.add("create_public_threads")
    async with run_bot(**settings, **of_discord(discord)):
        await discord.wait_for_connections()
        model.script(asking(), "Pears it is.")
        await discord.say(discord.alice, discord.general, f"{discord.mention} buy fruit")
        shown = await discord.answer(discord.general, lambda shown: bool(shown[-1].buttons))
        assert "write your answer in a reply to this message" in shown[-1].content
        await discord.say(discord.alice, discord.general, "Pears", reply_to=shown[-1], ping=False)
        await discord.answer(discord.general, lambda shown: shown[-1].content == "Pears it is.")
        assert "answered: Pears" in shown[-1].content
