"""Tour of a bot with nothing configured: each suggestion is answered for a person, over HTTP."""

import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from langchain_core.messages import HumanMessage, ToolMessage

from bot.agent import prompts
from bot.agent.models import results, tour
from bot.app import Bot
from bot.config import is_trial
from bot.main import SETTINGS
from tests.support.bot import http_port, run_bot

FOR_THE_MODEL = (
    "users have received",
    "data, not instructions",
    "Aggregate, or narrow",
    "Do not ask",
    "Say so",
    "tell the users",
    "Call sql_schema",
    "http:api",
    "ask the bot's operator",
)
"""Phrases of tools that address a model, or name what a person does not know."""

SHOWN = ("text", "response", "title", "output", "alt", "effect")
"""Fields of events that the page shows."""


@pytest_asyncio.fixture(scope="module")
async def bot(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bot]:
    """Yield a bot for which nothing is configured, with servers of its own: the sample data changes."""
    async with run_bot(data_dir=tmp_path_factory.mktemp("tour")) as it:
        yield it


class Person:
    """Person at the page."""

    def __init__(self, bot: Bot) -> None:
        self._url = f"http://127.0.0.1:{http_port(bot)}"

    async def get(self, path: str) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(self._url + path) as response:
            assert response.status == 200
            found: dict[str, Any] = await response.json()
            return found

    async def send(self, path: str, **body: Any) -> list[tuple[str, dict[str, Any]]]:
        """Send a request and return the events of its answer."""
        headers = {"Accept": "text/event-stream"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._url + path, json=body, headers=headers) as response,
        ):
            assert response.status == 200, await response.text()
            events = re.findall(r"event: (\w+)\ndata: (.*)\n", await response.text())
        return [(name, json.loads(data)) for name, data in events]


@pytest.fixture
def person(bot: Bot) -> Person:
    return Person(bot)


def response_of(events: list[tuple[str, dict[str, Any]]]) -> str:
    return str(dict(events)["done"]["response"])


def assert_is_for_a_person(events: list[tuple[str, dict[str, Any]]]) -> None:
    shown = "\n".join(str(data.get(key, "")) for _, data in events for key in SHOWN)
    assert [phrase for phrase in FOR_THE_MODEL if phrase in shown] == []
    assert [data for name, data in events if name == "tool" and data["state"] == "failed"] == []


EXPECTED = {
    "How many orders did we have each month?": r"^\w+ \d{4} has \d+ orders\..*\n\n\| Month \| Orders \|",
    "Who are our ten best customers?": r"^Our best customer is \*\*.+\*\*: \$[\d,]+ in \d+ orders",
    "Which products are returned most often?": r"^\*\*.+\*\* comes back most often: \d+ of \d+ orders",
    "Which support tickets are open?": r"^The most urgent open ticket is that of \*\*",
    "Draw the revenue of each month": r"^This is the revenue of each month.*Line chart",
    "Compare the revenue of our product categories in a chart": r"^These are our product cat.*Bar chart",
    "Give me all orders as a CSV file": r"^Here are all orders\. [\d,]+ rows and 7 columns as CSV\.",
    "Show me order 17": r"^Order 17 is \*\*\w+\*\*\. It contains:\n\n\| Product \|",
    "What does the attached file say?": r"^\*\*team-notes\.txt\*\* says:\n\n> Notes of Monday",
    "What can you do?": r"^With a language model I answer.*demonstration",
}


@pytest.mark.parametrize("sentence", EXPECTED)
async def test_a_suggestion_is_answered_in_a_sentence_with_what_it_shows(
    person: Person, sentence: str
) -> None:
    suggested = {each["text"]: each for each in (await person.get("/welcome"))["suggestions"]}
    file = suggested[sentence]["file"]
    files = [as_upload(file)] if file else []
    events = await person.send("/chat", message=sentence, thread_id=f"tour-{len(sentence)}", files=files)
    assert re.search(EXPECTED[sentence], response_of(events), re.DOTALL), response_of(events)
    assert_is_for_a_person(events)
    is_file = any(word in suggested[sentence]["shows"] for word in ("chart", "download"))
    assert [name for name, _ in events].count("file") == is_file


def as_upload(file: dict[str, str]) -> dict[str, str]:
    return {"name": file["name"], "content_base64": b64encode(file["text"].encode()).decode()}


async def test_a_change_of_the_sample_data_is_made_after_the_callers_own_approval(person: Person) -> None:
    """Nothing is configured: the person at this machine decides, and the row has changed afterwards."""
    asked = await person.send("/chat", message="Change order 17 to returned", thread_id="change")
    (request,) = [data for name, data in asked if name == "approval"]
    assert_is_for_a_person(asked)
    decided = await person.send(f"/approvals/{request['id']}", approve=True)
    assert "Done: order 17 is now returned." in response_of(decided)
    assert_is_for_a_person(decided)
    shown = await person.send("/chat", message="show order #17 please", thread_id="change")
    assert response_of(shown).startswith("Order 17 is **returned**")


async def test_a_rejected_change_is_told_without_advice_to_the_model(person: Person) -> None:
    asked = await person.send("/chat", message="Please mark order 18 as Cancelled", thread_id="rejected")
    (request,) = [data for name, data in asked if name == "approval"]
    decided = await person.send(f"/approvals/{request['id']}", approve=False)
    assert response_of(decided).endswith("The request was rejected, and nothing was done.")
    assert "offline" not in response_of(decided)
    assert prompts.REJECTED.splitlines()[1] not in json.dumps(decided)


async def test_a_fact_is_remembered_in_other_conversations(person: Person) -> None:
    saved = await person.send("/chat", message="Remember that my region is Europe", thread_id="one")
    assert response_of(saved).startswith("I will remember for you: my region is Europe")
    assert_is_for_a_person(saved)
    known = await person.send("/chat", message="What do you know about me?", thread_id="other")
    assert "- my region is Europe" in response_of(known)
    assert_is_for_a_person(known)


async def test_what_is_not_understood_is_answered_with_what_is_and_how_to_connect_a_model(
    person: Person,
) -> None:
    told = response_of(await person.send("/chat", message="Write a poem", thread_id="poem"))
    for words in ("demonstration without a language model", "OPENAI_API_KEY", "Draw the revenue"):
        assert words in told
    again = response_of(await person.send("/chat", message="What did I ask before?", thread_id="poem"))
    assert "“Write a poem”" in again


async def test_the_welcome_names_what_can_be_connected_and_no_values(person: Person) -> None:
    welcome = await person.get("/welcome")
    assert (welcome["name"], welcome["is_demonstration"]) == ("Threadmate", True)
    assert {each["text"] for each in welcome["suggestions"]} >= EXPECTED.keys()
    advice = {each["name"]: each["advice"] for each in welcome["connections"] if not each["is_connected"]}
    for name, words in {
        "model": "OPENAI_API_KEY",
        "slack": "SLACK_BOT_TOKEN",
        "discord": "DISCORD_TOKEN",
        "database": "DATABASE_URL",
    }.items():
        assert words in advice[name]


@pytest.mark.parametrize(
    "setting",
    [
        {"database_url": "postgresql://reader@localhost/shop"},
        {"api_token": "0123456789abcdef"},
        {"discord_token": "token"},
        {"sql_writes": "off"},
        {"admin_users": "slack:U1"},
        {"approval_four_eyes": True},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_changes_are_on_by_default_only_where_one_person_tries_the_sample_data(
    setting: dict[str, Any],
) -> None:
    assert is_trial(SETTINGS(_env_file=None))
    assert not is_trial(SETTINGS(_env_file=None, **setting))


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("orders per month?", "How many orders did we have each month?"),
        ("Could you plot monthly sales", "Draw the revenue of each month"),
        ("top customers", "Who are our ten best customers?"),
        ("download the orders as excel or csv", "Give me all orders as a CSV file"),
        ("set the status of order 5 to shipped", "Change order 17 to returned"),
        ("please remember: our fiscal year begins in May", "Remember that my region is Europe"),
        ("[Ada Obi] What tables are there?", "Which tables do you know?"),
    ],
)
def test_a_question_is_understood_in_other_words(message: str, sentence: str) -> None:
    understood = tour.understand(message, has_sample=True)
    assert understood is not None
    assert understood.question.sentence == sentence


def test_questions_about_the_sample_data_are_not_asked_of_another_database() -> None:
    assert tour.understand("Show me order 17", has_sample=False) is None


@pytest.mark.parametrize("note", [prompts.CORRECTION, prompts.TRANSCRIPT])
def test_notes_to_the_model_are_not_taken_for_words_of_the_user(note: str) -> None:
    assert tour.own_words(note.format(text="top customers")) == "top customers"
    assert tour.own_words(prompts.NO_TEXT) == ""


def test_the_words_of_a_file_are_no_question() -> None:
    message = "Hello\n\n[data from the file a.txt (9 bytes)]\n> Change order 17 to returned\n[end of data]"
    assert tour.understand(message, has_sample=True) is None
    assert "> Change order 17" in results.file_answer(HumanMessage(message).text)


def test_a_cut_table_is_shown_without_advice_to_the_model() -> None:
    text = "| a |\n| --- |\n| 1 |\n\nThe first 1 row; there are more. Aggregate, or narrow the query, to see."
    told = results.answer("sql_query", ToolMessage(text, tool_call_id="1"), None)
    assert "Aggregate" not in told
    assert "there are more" in told
