"""Stories about when the bot answers, and what it answers to."""

import asyncio

from bot.chat.texts import STOPPED
from bot.commands import texts
from tests.servers.model import Script
from tests.support.contract.feature import Feature
from tests.support.contract.place import Place, answer, asked_of, passed_over
from tests.support.contract.slack_place import SlackPlace
from tests.support.stages import wait_until_idle
from tests.support.wait import wait_until

_LONG = "A long answer about tea, which begins with its origin in the mountains. " * 10
"""Text of an answer that never ends."""


async def mention(place: Place) -> None:
    """The answer is in a thread of the message, and pings nobody."""
    place.model.script("It is Monday.")
    await place.ask("which day is it?")
    shown = await answer(place, "It is Monday.")
    assert place.is_in_thread()
    assert not shown.pings


async def direct_message(place: Place) -> None:
    place.model.script("Good morning!")
    await place.direct("hello")
    await answer(place, "Good morning!")


async def follow_up(place: Place) -> None:
    """The model knows what was said before."""
    place.model.script("Tea.", "Assam.")
    await place.ask("what is there to drink?")
    await answer(place, "Tea.")
    await place.say("alice", "which one?")
    await answer(place, "Assam.")
    assert "what is there to drink?" in asked_of(place)


async def second_user(place: Place) -> None:
    """Nobody's words are lost: at the next mention the model reads them."""
    place.model.script("Tea.", "For three.")
    await place.ask("what is there to drink?")
    await answer(place, "Tea.")
    await passed_over(place, await place.say("bob", "we need it for three"))
    await passed_over(place, await place.say("alice", "for how many?"))
    assert len(place.shown()) == 1
    await place.say("alice", f"{place.mention} for how many?")
    await answer(place, "For three.")
    assert "we need it for three" in asked_of(place)


async def quiet(place: Place) -> None:
    place.model.script("Tea.")
    await place.ask("what is there to drink?")
    await answer(place, "Tea.")
    await place.say("bob", "!quiet")
    await answer(place, texts.QUIET)
    await passed_over(place, await place.say("alice", "thanks"))


async def context(place: Place) -> None:
    place.model.script("Assam is out.")
    await place.talk("alice", "The Assam is out.")
    await place.say("bob", "Then we need some by Friday.")
    await place.say("bob", f"{place.mention} what do we need?")
    await answer(place, "Assam is out.")
    assert "The Assam is out." in asked_of(place)
    assert "by Friday" in asked_of(place)


async def edit(place: Place) -> None:
    place.model.script("It is in Oslo.", "It is in Bergen.")
    question = await place.ask("where is Ada?")
    await answer(place, "Oslo")
    place.edit(question, f"{place.mention} where is Ben?")
    await answer(place, "It is in Bergen.")
    assert "where is Ben?" in asked_of(place)


async def delete(place: Place) -> None:
    gate = asyncio.Event()
    place.model.script(Script(text="Never shown.", gate=gate))
    before, cancelled = len(place.model.requests), place.model.cancelled
    question = await place.ask("count")
    await wait_until(lambda: len(place.model.requests) > before, "the model is asked")
    place.remove(question)
    await wait_until(lambda: place.model.cancelled > cancelled, "the answer is stopped")
    await wait_until_idle(place.redis)
    gate.set()
    assert not any("Never shown." in each.text for each in place.shown())


async def _under_way(place: Place) -> None:
    """Ask a question whose answer would take for ever."""
    before = len(place.model.requests)
    place.model.script(Script(text=_LONG, fault="stall", break_after=30))
    await place.ask("count")
    await wait_until(lambda: len(place.model.requests) > before, "the model is asked")


async def stop_word(place: Place) -> None:
    await _under_way(place)
    await place.say("alice", "!stop")
    await answer(place, STOPPED)


async def stop_command(place: Place) -> None:
    await _under_way(place)
    assert STOPPED in await place.command("alice", "stop")
    await answer(place, STOPPED)


async def stop_button(place: Place) -> None:
    assert isinstance(place, SlackPlace)
    await _under_way(place)
    await wait_until(lambda: place.messages() != [], "the answer has begun")
    place.slack.stop("U0ALICE", place.channel, place.root)
    await answer(place, STOPPED)


CONVERSATIONS = (
    Feature("Answer in a thread", "mention the bot in a channel", mention),
    Feature("Direct message", "write to the bot", direct_message),
    Feature("Follow-up", "write on in the thread, without a mention", follow_up),
    Feature("Two users talk", "talk with each other: the bot waits for a mention", second_user),
    Feature("Silence", "write `!quiet`", quiet),
    Feature("Context", "mention the bot in a thread that it does not know", context),
    Feature("Edited question", "edit a message: it is answered again", edit),
    Feature("Deleted question", "delete a message: its answer is stopped", delete),
    Feature("Stop by a word", "write `!stop`", stop_word),
    Feature("Stop by a command", "use `/agent-stop`", stop_command),
    Feature(
        "Stop button",
        "press the stop button of the platform",
        stop_button,
        {"Discord": "Discord has no such button; the word, the command and ❌ stop an answer"},
    ),
)
