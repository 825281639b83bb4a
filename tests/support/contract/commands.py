"""Stories about buttons, commands, forms and what the platform shows of the bot."""

from bot.commands import ask_texts, home_texts
from bot.commands.answer_texts import REGENERATING
from bot.discord.texts import MODEL_DOWN
from tests.servers.model import Script
from tests.servers.slack.rules import visible_text
from tests.servers.slack.service import ALICE
from tests.support.contract.discord_place import DiscordPlace
from tests.support.contract.feature import Feature
from tests.support.contract.place import Place, answer, asked_of
from tests.support.contract.slack_place import SlackPlace
from tests.support.wait import wait_until


async def _answered(place: Place) -> None:
    place.model.script("It is Monday.")
    await place.ask("which day is it?")
    await answer(place, "It is Monday.")


async def _votes(place: Place) -> str:
    """Return the reasons of all votes, as they are stored."""
    keys = [each async for each in place.redis.scan_iter("{bot}:feedback:*")]
    return str([await place.redis.hgetall(each) for each in keys])


async def good(place: Place) -> None:
    await _answered(place)
    before = await _votes(place)
    await place.vote("alice", is_good=True)
    assert await _votes(place) != before


async def bad(place: Place) -> None:
    await _answered(place)
    await place.vote("bob", is_good=False)
    await place.give_reason("bob", "It is Tuesday already.")
    assert "It is Tuesday already." in await _votes(place)


async def details(place: Place) -> None:
    await _answered(place)
    told = await place.press("alice", "Details")
    assert "main-model" in told
    assert "Details of this answer" in told


async def regenerate(place: Place) -> None:
    """The model does not see its old answer."""
    await _answered(place)
    place.model.script("It is Tuesday.")
    assert REGENERATING in await place.press("alice", "Regenerate")
    await answer(place, "It is Tuesday.")
    assert "It is Monday." not in asked_of(place)
    assert len(place.shown()) == 2


async def health(place: Place) -> None:
    """Everybody reads the state, administrators the evidence."""
    assert "redis" in (await place.command("bob", "health")).lower()
    assert "redis" not in (await place.command("alice", "health")).lower()


async def memory(place: Place) -> None:
    call = ("memory_save", {"text": "Alice likes tea", "scope": "private"})
    place.model.script(Script(tool_calls=[call]), "Noted.")
    await place.direct("remember that I like tea")
    await answer(place, "Noted.")
    assert "I like tea" in await place.command("alice", "memory", "list")
    assert "tea" not in await place.command("bob", "memory", "list")


async def usage(place: Place) -> None:
    await _answered(place)
    assert "Your usage today" in await place.command("alice", "usage")


async def channel(place: Place) -> None:
    """For administrators; the next question there knows it."""
    await place.talk("alice", "hello")
    assert await place.is_refused("alice", "channel", "instructions", text="No tea.")
    await place.command("bob", "channel", "instructions", text="Talk about tea only.")
    await _answered(place)
    assert "Talk about tea only." in asked_of(place)
    await place.command("bob", "channel", "reset")


async def redis(place: Place) -> None:
    assert "Stored" in await place.command("bob", "redis", "set", key="greeting", value="hello")
    assert "hello" in await place.command("bob", "redis", "get", key="greeting")
    assert await place.is_refused("alice", "redis", "get", key="greeting")


async def typed(place: Place) -> None:
    await _answered(place)
    for word, said in (("!usage", "usage today"), ("!memory", "remember"), ("!health", "working")):
        await place.say("alice", word)
        await answer(place, said)


async def about(place: Place) -> None:
    id = await place.talk("bob", "Let us buy *tea* on Friday.")
    place.model.script("On Friday.")
    await place.ask_about("alice", id, "When is that?")
    await answer(place, "On Friday.")
    assert "Let us buy" in asked_of(place)


async def ask(place: Place) -> None:
    assert isinstance(place, DiscordPlace)
    place.model.script("It is Monday.")
    asked = await place.discord.command("ask", options={"question": "which day is it?"})
    await wait_until(lambda: asked.original is not None and asked.original.thread is not None, "a thread")
    assert asked.original
    assert asked.original.thread
    await place.discord.answer(asked.original.thread, lambda shown: "It is Monday." in shown[-1].content)


async def ask_privately(place: Place) -> None:
    assert isinstance(place, DiscordPlace)
    place.model.script("It is Monday.")
    options = {"question": "which day is it?", "private": True}
    asked = await place.discord.command("ask", options=options)
    await wait_until(lambda: "It is Monday." in asked.content, "the answer")
    assert asked.ephemeral


async def shortcut(place: Place) -> None:
    assert isinstance(place, SlackPlace)
    place.model.script("It is Monday.")
    form = await place.slack.shortcut(ask_texts.ASK, ALICE)
    assert not (await place.slack.submit(form, {"question": "which day is it?"})).is_open
    direct = place.slack.dm(ALICE)

    def is_answered() -> bool:
        return any("It is Monday." in each.visible_text for each in place.slack.messages(direct))

    await wait_until(is_answered, "the answer in direct messages")


async def home(place: Place) -> None:
    assert isinstance(place, SlackPlace)
    place.slack.open_home(ALICE, "home")
    await wait_until(lambda: place.slack.home(ALICE) is not None, "the tab is shown")
    assert home_texts.USAGE in visible_text((place.slack.home(ALICE) or {})["blocks"])


async def presence(place: Place) -> None:
    """It is shown until a call of the model succeeds."""
    assert isinstance(place, DiscordPlace)
    sessions = place.discord.sessions
    place.model.respond = lambda _: Script(status=503)
    await place.ask("which day is it?")
    await wait_until(lambda: sessions[-1].presence == MODEL_DOWN, "the trouble is shown")
    place.model.respond = lambda _: "It is Monday."
    await wait_until(lambda: any(each.buttons for each in place.shown()), "that answer has ended")
    await place.ask("which day is it?")
    await answer(place, "It is Monday.")
    await wait_until(lambda: sessions[-1].presence == "", "it is over")


BUTTONS = (
    Feature("Good answer", "press 👍", good),
    Feature("Bad answer", "press 👎, and write why", bad),
    Feature("Details", "press *Details*: models, tokens, tools and time", details),
    Feature("Another answer", "press *Regenerate*", regenerate),
)

COMMANDS = (
    Feature("Health", "use `/agent-health`", health),
    Feature("Memory", "use `/agent-memory`: only their own facts are shown", memory),
    Feature("Usage", "use `/agent-usage`", usage),
    Feature("Settings of a channel", "use `/agent-channel`, as administrators", channel),
    Feature("Keys and values", "use `/agent-redis`, as administrators", redis),
    Feature("Typed commands", "write `!health`, `!memory` or `!usage` in a conversation", typed),
    Feature("Question about a message", "choose *Ask the agent about this* in its menu", about),
    Feature(
        "Question by a command",
        "use `/ask`",
        ask,
        {"Slack": "Slack has no commands in threads; its shortcut asks from anywhere"},
    ),
    Feature(
        "Private answer",
        "use `/ask` with `private`",
        ask_privately,
        {"Slack": "Slack cannot stream or change a private message; direct messages are private"},
    ),
    Feature(
        "Question from anywhere",
        "use the shortcut *Ask the agent*",
        shortcut,
        {"Discord": "Discord has no shortcuts; `/ask` does the same"},
    ),
    Feature(
        "Home tab",
        "open the tab of the app: facts, conversations, usage",
        home,
        {"Discord": "Discord has no such tab; the commands show the same"},
    ),
    Feature(
        "Presence",
        "see below the name of the bot that something is wrong",
        presence,
        {"Slack": "Slack lets a bot set no text of its own there"},
    ),
)
