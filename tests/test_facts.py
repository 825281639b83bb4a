"""Facts of the long-term memory: listed, corrected and forgotten one by one, by their own user only."""

import re
from typing import Any

import pytest

from bot.commands.memory import MemoryOrder, parse
from bot.commands.texts import MEMORY_READ_BY_OTHERS, MEMORY_TYPED
from bot.memory.texts import NO_FACT, NO_FACTS, NO_SUCH_WORDS
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.support.bot import run_bot
from tests.support.http_caller import http_client
from tests.support.obedient_model import obey, order
from tests.support.settings import of_discord, of_model, of_slack
from tests.support.wait import wait_until

ADA, BOB_TOKEN = "ada-token-of-the-test", "bob-token-of-the-test"
LINE = re.compile(r"`([0-9a-f]{8})` \S+ \S+ UTC, (\w+): (.*)")


@pytest.fixture
def settings(storage: dict[str, Any], model: ModelServer) -> dict[str, Any]:
    """A bot with a model that does what it is told, on an empty Redis."""
    model.respond = obey
    return {**storage, **of_model(model)}


def wish(fact: str, scope: str = "private") -> str:
    """Return a message that has the model save a fact in the user's own words."""
    return f"{fact}\n{order('memory_save', text=fact, scope=scope)}"


async def say(slack: Slack, user: str, text: str, channel: str = "") -> str:
    """Write in direct messages, or with a mention in a channel; return the thread's text after the answer."""
    place = channel or slack.dm(user)
    ts = await slack.say(user, place, f"{slack.mention} {text}" if channel else text)
    await slack.answer(place, ts)
    return slack.transcript(place, ts)


async def memory(slack: Slack, text: str, user: str = ALICE) -> str:
    return await slack.command_text("/agent-memory", text, user, GENERAL)


def listed(answer: str) -> dict[str, tuple[str, str]]:
    """Return the scope and the text of each listed fact, by its id."""
    return {id: (scope, text) for id, scope, text in LINE.findall(answer)}


async def test_facts_are_listed_corrected_and_forgotten_one_by_one_on_slack(
    settings: dict[str, Any], slack: Slack
) -> None:
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections(2)
        assert await memory(slack, "list") == NO_FACTS
        await say(slack, ALICE, wish("I prefer short answers"))
        await say(slack, ALICE, wish("The release is on Monday", "workspace"), GENERAL)
        facts = listed(await memory(slack, "list"))
        assert sorted(facts.values()) == [
            ("private", "I prefer short answers"),
            ("workspace", "The release is on Monday"),
        ]
        assert listed(await memory(slack, "list RELEASE")).keys() < facts.keys()
        assert await memory(slack, "list zeppelin") == NO_SUCH_WORDS
        by_text = {text: id for id, (_, text) in facts.items()}
        id = by_text["The release is on Monday"]
        answer = await memory(slack, f"correct {id} The release is on Tuesday &amp; not later")
        assert "now remember: The release is on Tuesday &amp; not later" in answer
        corrected = listed(await memory(slack, "list"))
        assert id not in corrected
        assert ("workspace", "The release is on Tuesday &amp; not later") in corrected.values()
        gone = by_text["I prefer short answers"]
        assert (await memory(slack, f"forget {gone}")).startswith(
            "I have forgotten: I prefer short answers\n"
        )
        assert await memory(slack, f"forget {gone}") == NO_FACT
        assert [scope for scope, _ in listed(await memory(slack, "list")).values()] == ["workspace"]


async def test_a_corrected_fact_is_found_by_the_same_readers_and_the_old_one_by_nobody(
    settings: dict[str, Any], slack: Slack
) -> None:
    search = order("memory_search", query="release")
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections(2)
        await say(slack, ALICE, wish("The release is on Monday", "workspace"), GENERAL)
        await say(slack, ALICE, wish("My own release is on Friday"))
        facts = {text: id for id, (_, text) in listed(await memory(slack, "list")).items()}
        await memory(slack, f"correct {facts['The release is on Monday']} The release is on Tuesday")
        await memory(slack, f"correct {facts['My own release is on Friday']} My own release is on Sunday")
        of_bob = await say(slack, BOB, search)
        of_alice = await say(slack, ALICE, search)
    assert "fact of this workspace" in of_bob
    assert "The release is on Tuesday" in of_bob
    assert "My own release is on Sunday" in of_alice
    assert "My own" not in of_bob
    assert not re.search(r"fact of this workspace[^\n]*Monday", of_bob)
    assert not re.search(r"private fact[^\n]*Friday", of_alice)


async def test_a_correction_does_not_take_over_the_fact_of_somebody_else(
    settings: dict[str, Any], slack: Slack
) -> None:
    """Fault: with the same words it became the fact of the user who corrected, and its author lost it."""
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections(2)
        await say(slack, BOB, wish("The release is on Monday", "workspace"), GENERAL)
        await say(slack, ALICE, wish("The launch comes in May", "workspace"), GENERAL)
        of_bob, of_alice = await memory(slack, "list", BOB), await memory(slack, "list")
        [id] = listed(of_alice)
        for words in ("The release is on Monday", "the RELEASE is on monday!"):
            assert "from somebody else, and it stays theirs" in await memory(slack, f"correct {id} {words}")
        assert await memory(slack, "list", BOB) == of_bob
        assert await memory(slack, "list") == of_alice
        await say(slack, ALICE, wish("My cat is called Ada"))
        facts = {text: id for id, (_, text) in listed(await memory(slack, "list")).items()}
        private = facts["My cat is called Ada"]
        assert "I have corrected it" in await memory(slack, f"correct {private} The release is on Monday")
        assert await memory(slack, "list", BOB) == of_bob
        again = f"correct {id} The launch comes in June"
        assert "I have corrected it" in await memory(slack, again)  # nothing was lost by the refusal


async def test_nobody_sees_changes_or_removes_facts_of_others(
    settings: dict[str, Any], slack: Slack, discord: Discord
) -> None:
    """The answer is the one for an id that does not exist; a workspace's fact belongs to who saved it."""
    async with run_bot(**settings, **of_slack(slack), **of_discord(discord)):
        await slack.wait_for_connections(2)
        await discord.wait_for_connections()
        await say(slack, ALICE, wish("I prefer short answers"))
        await say(slack, ALICE, wish("The release is on Monday", "workspace"), GENERAL)
        facts = await memory(slack, "list")
        for id in listed(facts):
            assert await memory(slack, f"correct {id} I prefer insults", BOB) == NO_FACT
            assert await memory(slack, f"forget {id}", BOB) == NO_FACT
            told = await discord.command("agent-memory forget", options={"fact": id})
            assert told.content == NO_FACT
            answer = await say(slack, BOB, f"!memory forget {id}")
            assert NO_FACT in answer.replace("\n", " ")
        assert await memory(slack, "list", BOB) == NO_FACTS
        assert await memory(slack, "list release", BOB) == NO_FACTS
        assert await memory(slack, "list") == facts


async def test_discord_has_the_same_words(settings: dict[str, Any], discord: Discord) -> None:
    async with run_bot(**settings, **of_discord(discord)):
        await discord.wait_for_connections()
        dm = discord.dm(discord.alice)
        await discord.say(discord.alice, dm, wish("I prefer short answers"))
        await discord.answer(dm, lambda messages: "RESULT" in messages[-1].content)

        async def run(name: str, **options: str) -> str:
            done = await discord.command(f"agent-memory {name}", options=options)
            assert done.ephemeral
            return done.content

        [(id, fact)] = listed(await run("list")).items()
        assert fact == ("private", "I prefer short answers")
        assert await run("list", words="zeppelin") == NO_SUCH_WORDS
        answer = await run("correct", fact=id, text="I prefer long answers")
        assert "I have corrected it, and now remember: I prefer long answers" in answer
        [(new, fact)] = listed(await run("list", words="LONG")).items()
        assert await run("correct", fact=id, text="too late") == NO_FACT
        assert "I have forgotten: I prefer long answers" in await run("forget", fact=new)
        assert await run("list") == NO_FACTS


async def test_typed_words_do_the_same_where_nobody_else_reads(
    settings: dict[str, Any], model: ModelServer, slack: Slack, discord: Discord
) -> None:
    """In a shared thread they name no fact. They cost no model call."""
    async with run_bot(**settings, **of_slack(slack), **of_discord(discord)):
        await slack.wait_for_connections(2)
        await discord.wait_for_connections()
        await say(slack, ALICE, wish("I prefer short answers"))
        asked = len(model.requests)
        [(id, _)] = listed(await say(slack, ALICE, "!memory list")).items()
        assert MEMORY_READ_BY_OTHERS.partition(".")[0] in await say(slack, ALICE, "!memory list", GENERAL)
        kept = await say(slack, ALICE, f"!memory forget {id}", GENERAL)
        assert "short answers" not in kept
        corrected = await say(slack, ALICE, f"!Memory correct `{id.upper()}` I prefer LONG answers")
        assert "now remember: I prefer LONG answers" in corrected
        assert MEMORY_TYPED.partition(",")[0] in (await say(slack, ALICE, "!memory forget everything"))
        [(new, fact)] = listed(await memory(slack, "list")).items()
        assert fact == ("private", "I prefer LONG answers")
        assert "I have forgotten: I prefer LONG answers" in await say(slack, ALICE, f"!memory forget {new}")
        dm = discord.dm(discord.alice)
        await discord.say(discord.alice, dm, "!memory list")
        await discord.answer(dm, lambda messages: NO_FACTS in messages[-1].content)
        await wait_until(lambda: len(model.requests) == asked, "the model is not asked")


@pytest.mark.parametrize("text", ["correct", "correct 1a2b3c4d", "correct 1a2b3c4d " + "x" * 1_001])
async def test_a_correction_without_a_usable_text_says_how_to_write_one(
    settings: dict[str, Any], slack: Slack, text: str
) -> None:
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections(2)
        assert "A fact has at most 1,000 characters." in await memory(slack, text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", MemoryOrder("show")),
        ("  SHOW ", MemoryOrder("show")),
        ("list", MemoryOrder("list")),
        ("list two  words", MemoryOrder("list", "two  words")),
        ("correct 1a2b a\nnew text", MemoryOrder("correct", "1a2b a\nnew text")),
        ("forget everything", MemoryOrder("forget", "everything")),
        ("link AB CD", MemoryOrder("link", "AB CD")),
        ("show me", None),
        ("unlink 7", None),
        ("listen", None),
    ],
)
def test_the_text_of_a_command_is_a_subcommand_and_its_argument(text: str, read: MemoryOrder | None) -> None:
    assert parse(text) == read


async def test_facts_are_listed_corrected_and_forgotten_over_http(settings: dict[str, Any]) -> None:
    """Ten at once; nobody but their owner changes them."""
    async with (
        run_bot(**settings, api_tokens=f"ada:{ADA},bob:{BOB_TOKEN}") as bot,
        http_client(bot, ADA) as ada,
        http_client(bot, BOB_TOKEN) as bob,
    ):
        for number in range(11):
            await ada("POST", "/chat", {"message": wish(f"item {number} is blue"), "thread_id": "t"})
        _, known = await ada("GET", "/memory/facts")
        assert (len(known["facts"]), known["total"], known["is_on"]) == (10, 11, True)
        assert len((await ada("GET", "/memory/facts?first=10"))[1]["facts"]) == 1
        assert (await ada("GET", "/memory/facts?first=x"))[0] == 400
        assert (await bob("GET", "/memory/facts"))[1]["total"] == 0
        path = f"/memory/facts/{known['facts'][0]['id']}"
        assert (await bob("DELETE", path))[1]["response"] == NO_FACT
        assert (await ada("PATCH", path, {"text": "item 10 is red"}))[0] == 200
        _, known = await ada("GET", "/memory/facts")
        (red,) = [each["id"] for each in known["facts"] if each["text"] == "item 10 is red"]
        await ada("DELETE", f"/memory/facts/{red}")
        assert (await ada("GET", "/memory/facts"))[1]["total"] == 10
