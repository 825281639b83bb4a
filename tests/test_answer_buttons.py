"""Buttons below answers on Slack and Discord: feedback, details and another answer."""

import asyncio
import io
import json
import math
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.access.answers import AnswerStore
from bot.commands import answer_texts
from bot.composition import export_feedback
from tests.servers.discord.records import MessageFlag
from tests.servers.discord.rules import walk
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support.answers import DiscordPlace, Place, SlackPlace, answered, turns_ended
from tests.support.bot import run_bot
from tests.support.settings import of_discord, of_model, of_slack
from tests.support.wait import wait_until

ALL = ["up", "down", "regenerate", "details"]


@pytest.fixture(params=["slack", "discord"])
def place(request: pytest.FixtureRequest) -> Place:
    """A thread on either platform."""
    if request.param == "slack":
        return SlackPlace(request.getfixturevalue("slack"))
    return DiscordPlace(request.getfixturevalue("discord"))


async def votes(redis: Redis) -> list[tuple[str, str, str]]:
    """Return all votes with their authors and reasons."""
    return [(each.by, each.vote, each.reason) async for each in AnswerStore(redis).all_feedback()]


async def test_each_answer_has_buttons_and_counts_one_vote_of_each_user(
    place: Place, storage: dict[str, Any], model: ModelServer, redis: Redis
) -> None:
    """Anybody who sees the answer can vote, repeat the vote without an effect, and change it."""
    model.respond = lambda _: "It is Monday."
    admin = place.authors["alice"]
    async with run_bot(**storage, **of_model(model), **place.settings, admin_users={admin}) as bot:
        await place.connect()
        await place.ask("which day is it?")
        await answered(place, "It is Monday.")
        assert place.buttons() == ALL
        for vote in ("up", "up", "down"):
            await place.vote("bob", vote)
        await place.give_reason("bob", "It is Tuesday.")
        await place.vote("alice", "up")
        assert await votes(redis) == [
            (place.authors["bob"], "down", "It is Tuesday."),
            (place.authors["alice"], "up", ""),
        ]
        exported = io.StringIO()
        await export_feedback(bot.settings, exported)
        first, second = map(json.loads, exported.getvalue().splitlines())
        assert (first["by"], first["reason"]) == (place.authors["bob"], "It is Tuesday.")
        assert first["details"]["models"]["main-model"]["calls"] == 1
        assert (second["by"], second["vote"], second["reason"]) == (admin, "up", None)
        report = await bot.commands.report_usage(admin, of_all=True)
        assert "feedback: 1 👍, 1 👎" in report
        await place.vote("bob", "up")
        assert await votes(redis) == [  # by the time of the vote, and Bob's is new
            (place.authors["alice"], "up", ""),
            (place.authors["bob"], "up", ""),
        ]


async def test_buttons_work_after_a_restart(
    place: Place, storage: dict[str, Any], model: ModelServer, redis: Redis
) -> None:
    """So does a form that was opened before it."""
    model.respond = lambda _: "It is Monday."
    settings = {**storage, **of_model(model), **place.settings}
    async with run_bot(**settings):
        await place.connect()
        await place.ask("which day is it?")
        await answered(place, "It is Monday.")
        await place.vote("bob", "down")
        if isinstance(place, SlackPlace):
            await wait_until(lambda: place.slack.modals != [], "the form is open")
    async with run_bot(**settings):
        await place.connect()
        await place.give_reason("bob", "No.")
        assert await votes(redis) == [(place.authors["bob"], "down", "No.")]
        assert "Details of this answer" in await place.press("bob", "details")


async def test_details_tell_what_an_answer_took_to_the_user_who_asks_for_them(
    place: Place, storage: dict[str, Any], model: ModelServer
) -> None:
    """Tools with their rows, the model with its tokens and their price, the time and the reference."""
    query = "select * from generate_series(1, 3) as number"
    model.script(Script(tool_calls=[("sql_query", {"query": query})]))
    model.respond = lambda _: "There are three."
    prices = {"model_prices": '{"main-model": [2, 8]}', "budget_total": "5 USD"}
    async with run_bot(**storage, **of_model(model), **place.settings, **prices):
        await place.connect()
        await place.ask("how many?")
        await answered(place, "There are three.")
        details = await place.press("bob", "details")
    assert "reference" in details
    assert "main-model" in details
    assert "in 2 calls" in details
    assert "USD" in details
    assert "sql_query" in details
    assert "1 call, 3 rows" in details
    assert all(details not in each for each in place.answers())


async def test_another_answer_takes_the_place_of_the_last_one_in_the_memory(
    place: Place, storage: dict[str, Any], model: ModelServer
) -> None:
    """The model sees the question, but not its old answer; the next turn sees the new one only."""
    answers = iter(["First.", "Second.", "Third."])
    model.respond = lambda _: next(answers)
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("tell me a story")
        await answered(place, "First.")
        assert "again" in await place.press("bob", "regenerate")
        await answered(place, "Second.", 2)
        assert "First." not in str(model.requests[-1]["messages"])
        assert "tell me a story" in str(model.requests[-1]["messages"][-1])
        assert place.buttons() == ALL
        assert "only the last answer" in (await place.press("bob", "regenerate", 0)).lower()
        await place.ask("and then?")
        await answered(place, "Third.", 3)
        assert "First." not in str(model.requests[-1]["messages"])
        assert "Second." in str(model.requests[-1]["messages"])
        for number in (0, 1):
            assert "only the last answer" in (await place.press("alice", "regenerate", number)).lower()
    assert len(model.requests) == 3


async def test_while_a_newer_message_is_answered_no_other_answer_can_be_ordered(
    place: Place, storage: dict[str, Any], model: ModelServer
) -> None:
    """It would come too late."""
    gate = asyncio.Event()
    model.script("First.", Script(text="Second.", gate=gate))
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("tell me a story")
        await answered(place, "First.")
        await place.ask("and then?")
        await wait_until(lambda: len(model.requests) == 2, "the newer message is being answered")
        assert await place.press("alice", "regenerate", 0) == answer_texts.BUSY
        gate.set()
        await answered(place, "Second.", 2)
    assert len(model.requests) == 2


async def test_a_user_who_may_not_ask_cannot_order_another_answer(
    place: Place, storage: dict[str, Any], model: ModelServer
) -> None:
    """The refusal is private, and no turn begins."""
    model.respond = lambda _: "First."
    allowed = {"allowed_users": {place.authors["alice"]}}
    async with run_bot(**storage, **of_model(model), **place.settings, **allowed):
        await place.connect()
        await place.ask("tell me a story")
        await answered(place, "First.")
        assert "not allowed" in await place.press("bob", "regenerate")
        assert len(place.answers()) == len(model.requests) == 1


async def test_an_answer_that_fails_cannot_be_rated_but_can_be_regenerated(
    place: Place, storage: dict[str, Any], model: ModelServer
) -> None:
    """Afterwards the failure is gone from the memory, too."""
    model.script(Script(status=400))
    model.respond = lambda _: "Now it works."
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("tell me a story")
        await answered(place, "refused")
        assert place.buttons() == ["regenerate", "details"]
        await place.press("alice", "regenerate")
        await answered(place, "Now it works.", 2)
        assert "refused" not in str(model.requests[-1]["messages"])


async def test_another_answer_that_fails_can_be_ordered_again(
    place: Place, storage: dict[str, Any], model: ModelServer
) -> None:
    """Fault: the button of an answer was used up by an order that has brought none."""
    model.script("First.", Script(status=400), "Second.")
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("tell me a story")
        await answered(place, "First.")
        for number, text in ((2, "refused"), (3, "Second.")):
            assert await place.press("alice", "regenerate", 0) == answer_texts.REGENERATING
            await answered(place, text, number)
        assert await place.press("alice", "regenerate", 0) == answer_texts.ALREADY
    assert len(model.requests) == 3


async def test_an_old_press_brings_nothing_when_the_inbox_has_forgotten_its_order(
    place: Place, storage: dict[str, Any], model: ModelServer, redis: Redis
) -> None:
    """Fault: after three days the same answer was shown again."""
    model.script("First.", "Second.")
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("tell me a story")
        await answered(place, "First.")
        await place.press("alice", "regenerate")
        await answered(place, "Second.", 2)
        for kind in ("seen", "turn"):
            async for key in redis.scan_iter(f"{{bot}}:{kind}:*"):
                await redis.delete(key)
        assert await place.press("alice", "regenerate", 0) == answer_texts.ALREADY
        assert len(place.answers()) == 2


async def test_an_order_that_was_refused_can_be_repeated(
    place: Place, storage: dict[str, Any], model: ModelServer, redis: Redis
) -> None:
    """The rate is checked when its turn begins."""
    model.script("First.", "Second.")
    async with run_bot(**storage, **of_model(model), **place.settings, user_rate=1):
        await place.connect()
        await place.ask("tell me a story")
        await answered(place, "First.")
        await place.press("alice", "regenerate")
        await wait_until(lambda: len(place.answers()) == 2, "the refusal")
        await turns_ended()
        assert await place.press("bob", "regenerate", 0) == answer_texts.REGENERATING
        await answered(place, "Second.", 3)


async def test_without_the_setting_there_are_no_buttons(
    place: Place, storage: dict[str, Any], model: ModelServer, redis: Redis
) -> None:
    """Nothing is stored about answers either."""
    model.respond = lambda _: "It is Monday."
    async with run_bot(**storage, **of_model(model), **place.settings, answer_buttons=False):
        await place.connect()
        await place.ask("which day is it?")
        await wait_until(lambda: place.answers() == ["It is Monday."], "the answer")
        assert not place.buttons()
    assert not [each async for each in redis.scan_iter("{bot}:answer:*")]


async def test_notices_have_no_buttons(place: Place, storage: dict[str, Any], model: ModelServer) -> None:
    """The bot answers a typed command without the agent."""
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("!usage")
        await wait_until(lambda: len(place.answers()) == 1, "the answer")
        assert not place.buttons()


async def test_only_the_last_message_of_a_long_answer_has_buttons(
    place: Place, storage: dict[str, Any], model: ModelServer
) -> None:
    """It is sent with them: no request is made for the buttons alone."""
    model.respond = lambda _: "\n\n".join(f"Paragraph {number}. " + "word " * 200 for number in range(13))
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("tell me everything")
        await wait_until(
            lambda: len(place.answers()) > 1 and "Paragraph 12" in place.answers()[-1], "the answer"
        )
        await wait_until(lambda: place.buttons() == ALL, "the buttons")
        await wait_until(
            lambda: not any(place.buttons(number) for number in range(len(place.answers()) - 1)),
            "no other buttons",
        )


async def test_the_blocks_on_slack(storage: dict[str, Any], model: ModelServer, slack: Slack) -> None:
    """Slack's own feedback buttons, and two more; all name the answer, not its text."""
    model.respond = lambda _: "It is Monday."
    place = SlackPlace(slack)
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("which day is it?")
        await answered(place, "It is Monday.")
    feedback, actions = place.messages()[-1].blocks
    (rate,) = feedback["elements"]
    answer = rate["positive_button"]["value"].removeprefix("up:")
    assert feedback["type"] == "context_actions"
    assert rate == {
        "type": "feedback_buttons",
        "action_id": "rate",
        "positive_button": {
            "text": {"type": "plain_text", "text": "Good answer"},
            "accessibility_label": "Good answer",
            "value": f"up:{answer}",
        },
        "negative_button": {
            "text": {"type": "plain_text", "text": "Bad answer"},
            "accessibility_label": "Bad answer",
            "value": f"down:{answer}",
        },
    }
    assert actions["type"] == "actions"
    assert [(each["action_id"], each["value"]) for each in actions["elements"]] == [
        ("regenerate", answer),
        ("details", answer),
    ]
    assert slack.count("chat.update") == slack.count("chat.postMessage") == 0


async def test_an_answer_without_a_stream_has_buttons_on_slack(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """It is posted with them, and mentions nobody in the text for notifications."""
    model.respond = lambda _: "Hello <!channel>, it is Monday."
    slack.disable("chat.startStream")
    place = SlackPlace(slack)
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("which day is it?")
        await answered(place, "it is Monday.")
    (message,) = place.messages()
    assert "<!channel>" not in message.text
    assert slack.count("chat.postMessage") == 1
    assert slack.count("chat.update") == 0


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_blocks_too_long"])
async def test_slack_may_refuse_the_buttons(
    storage: dict[str, Any], model: ModelServer, slack: Slack, code: str
) -> None:
    """The answer is then complete without them, whatever Slack's code."""
    model.respond = lambda _: "It is Monday."
    slack.fail("chat.stopStream", error=code, times=math.inf, having="blocks")
    async with run_bot(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} which day is it?")
        assert await slack.answer(GENERAL, ts) == "It is Monday."
        await slack.wait_until_settled()
        assert slack.count("chat.postMessage") == slack.count("chat.update") == 0


async def test_the_components_on_discord(
    storage: dict[str, Any], model: ModelServer, discord: Discord
) -> None:
    """One row of four buttons, sent with the message."""
    model.respond = lambda _: "It is Monday."
    place = DiscordPlace(discord)
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("which day is it?")
        await answered(place, "It is Monday.")
        (message,) = place.messages()
        details = await discord.click(discord.alice, message, "Details")
    assert details.original
    assert MessageFlag.COMPONENTS_V2 in details.original.flags
    assert MessageFlag.COMPONENTS_V2 not in message.flags, "its text can be found, quoted and edited"
    (row,) = message.components
    assert [each.get("label") or each["emoji"]["name"] for each in row["components"]] == [
        "👍",
        "👎",
        "Regenerate",
        "Details",
    ]
    assert discord.count("PATCH", "/channels/{channel}/messages/{message}") == 0


async def test_another_answer_in_direct_messages_on_slack(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """It comes in the thread of the answer."""
    model.script("First.", "Second.")
    dm = slack.dm(ALICE)
    async with run_bot(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, dm, "tell me a story")
        assert await slack.answer(dm, ts) == "First."
        await slack.wait_until_settled()
        (answer,) = slack.bot_replies(dm, ts)
        assert (await slack.press(ALICE, dm, answer.ts, "regenerate")).acked
        await wait_until(lambda: "Second." in slack.transcript(dm, ts), "another answer")
        await slack.wait_until_settled()


@pytest.mark.parametrize("place", ["direct messages", "chain of replies"])
async def test_another_answer_without_a_thread_on_discord(
    storage: dict[str, Any], model: ModelServer, discord: Discord, place: str
) -> None:
    """In direct messages it is a message, in a channel without threads a reply to the question."""
    model.script("First.", "Second.")
    direct = place == "direct messages"
    channel = discord.dm(discord.alice) if direct else discord.general
    if not direct:
        channel.denied.add("create_public_threads")
    async with run_bot(**storage, **of_model(model), **of_discord(discord)):
        await discord.wait_for_connections()
        question = await discord.say(discord.alice, channel, f"{discord.mention} tell me a story")

        def answers() -> list[Any]:
            return [each for each in discord.messages(channel) if each.author is discord.bot]

        await wait_until(lambda: len(answers()) == 1, "an answer")
        await turns_ended()
        names = [each.get("custom_id", "") for each in walk(answers()[0].components)]
        button = next(each for each in names if each.startswith("regenerate:"))
        pressed = await discord.click(discord.alice, answers()[0], button)
        assert (pressed.ephemeral, pressed.content) == (True, answer_texts.REGENERATING)
        await wait_until(lambda: len(answers()) == 2, "another answer")
        await wait_until(lambda: "Second." in answers()[-1].content, "another answer")
        assert direct or answers()[-1].reference is question
