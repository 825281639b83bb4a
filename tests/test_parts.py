"""From LangChain's messages to parts: what is replayed after a crash is what was shown."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool, ToolException, tool
from pydantic import SecretStr

from bot.agent import parts
from bot.agent.graph import build_graph
from bot.agent.models.openai_service import open_model
from bot.agent.state import Context
from bot.chat import File, Notice, Part, Text, ThreadId, ToolStep, Turn
from bot.tools.artifacts import TableSize, artifact_of
from bot.tools.sql.format import Column, Result, markdown
from tests.servers.model import KEY, ModelServer, Script


@tool
async def sql_query(query: str) -> str:
    """Run a query."""
    if query == "wrong":
        raise ToolException('syntax error\nat or near "wrong"')
    if query == "bug":
        raise RuntimeError("a bug in the tool")
    return f"\n  rows of {query}  \nmore rows"


@tool
async def current_time(zone: str = "") -> str:
    """The time."""
    return "now"


TURN = Turn(id="question", thread=ThreadId("test", "space", "channel"), messages=())

TOOLS: list[BaseTool] = [sql_query, current_time]

sql_query.metadata = {"title": "Query the database", "activity": "Running a query"}
current_time.metadata = {"title": "Look at the clock"}
TITLES = {**parts.titles_of(TOOLS), "sql_schema": {"title": "Look at the database schema"}}


async def lived(model: ModelServer, rounds: int = 5) -> tuple[list[Part], list[AnyMessage]]:
    """Run the real graph and the real ChatOpenAI once: what was emitted, and the messages it left."""
    shown: list[Part] = []
    question = HumanMessage("hi", id="question")
    async with open_model(
        name="m",
        fallback=None,
        api_key=SecretStr(KEY),
        base_url=model.base_url,
        timeout=5,
        tools=TOOLS,
    ) as asked:
        graph = build_graph(asked, TOOLS, max_iterations=rounds, history_tokens=8000, checkpointer=None)
        begin: Any = {"messages": [question], "iterations": 0}
        state = await graph.ainvoke(begin, context=Context(TURN, shown.append))
    return shown, state["messages"][1:]


def shape(shown: Sequence[Part]) -> list[Part | list[ToolStep]]:
    """Texts in one piece; steps that follow each other in order of their calls, as they run in parallel."""
    whole: list[Part | list[ToolStep]] = []
    for kind, group in itertools.groupby(shown, type):
        members = list(group)
        if kind is Text:
            whole.append(Text("".join(each.text for each in members if isinstance(each, Text))))
        elif kind is ToolStep:
            steps = [each for each in members if isinstance(each, ToolStep)]
            whole.append(sorted(steps, key=lambda step: (step.id, step.state != "started")))
        else:
            whole += members
    return whole


QUERY = ("sql_query", {"query": "orders"})
SCRIPTS: dict[str, list[Script | str]] = {
    "an answer": ["Hello there, Ada."],
    "a tool without a word": [Script(tool_calls=[QUERY]), "There are 42."],
    "a tool with words": [Script(text="Let me look.", tool_calls=[QUERY]), "There are 42."],
    "words in every round": [
        Script(text="Let me look.", tool_calls=[QUERY]),
        Script(text="And at the clock.", tool_calls=[("current_time", {"zone": "UTC"})]),
        "There are 42.",
    ],
    "words after a silent round": [
        Script(tool_calls=[QUERY]),
        Script(text="Once more.", tool_calls=[QUERY]),
        "42.",
    ],
    "tools in parallel": [
        Script(text="Both.", tool_calls=[QUERY, ("current_time", {}), ("sql_query", {"query": "x"})]),
        "Done.",
    ],
    "a tool that refuses": [Script(tool_calls=[("sql_query", {"query": "wrong"})]), "I cannot."],
    "a tool with a bug": [Script(tool_calls=[("sql_query", {"query": "bug"})]), "I cannot."],
    "wrong arguments": [Script(tool_calls=[("sql_query", {"table": 1})]), "I cannot."],
    "a tool that is not there": [Script(tool_calls=[("rm_rf", {"path": "/"})]), "I cannot."],
    "white space": [Script(text="\n\nLet me \n look.\n", tool_calls=[QUERY]), "\n42\n\n"],
}


@pytest.mark.parametrize("name", SCRIPTS)
async def test_replay_is_what_was_shown(model: ModelServer, name: str) -> None:
    """Texts are at the same places, and steps have the same titles and outcomes."""
    model.script(*SCRIPTS[name])
    shown, messages = await lived(model)
    assert shape(list(parts.replay(messages, TITLES))) == shape(shown)
    assert not model.unused


async def test_replay_is_what_was_shown_when_rounds_are_used_up(model: ModelServer) -> None:
    """The answer that the bot itself gives then is replayed like the model's."""
    model.script(Script(text="Looking.", tool_calls=[QUERY]), Script(text="", tool_calls=[QUERY]))
    shown, messages = await lived(model, rounds=1)
    assert "round of tool calls" in "".join(each.text for each in shown if isinstance(each, Text))
    assert shape(list(parts.replay(messages, TITLES))) == shape(shown)


def a_call(id: str = "1", name: str = "sql_query", **args: Any) -> ToolCall:
    return ToolCall(name=name, args=args, id=id, type="tool_call")


def test_a_call_that_was_cut_off_is_replayed_as_started() -> None:
    """Its result comes when the turn goes on."""
    messages: list[AnyMessage] = [AIMessage("", tool_calls=[a_call(query="select 1")])]
    assert [step.state for step in parts.replay(messages, TITLES) if isinstance(step, ToolStep)] == [
        "started"
    ]


def test_a_result_of_an_earlier_turns_call_is_not_replayed() -> None:
    """Its step belongs to another answer."""
    assert list(parts.replay([ToolMessage("late", tool_call_id="other"), AIMessage("Hi")], TITLES)) == [
        Text("Hi")
    ]


def test_a_step_keeps_its_id_and_title_until_its_end() -> None:
    """A platform finds the card again by the id; the outcome is the result's first line."""
    call = a_call(query="select\n  1")
    started = parts.started_step(call, TITLES)
    ended = parts.ended_step(call, ToolMessage("\n\n  one row \nanother", tool_call_id="1"), TITLES)
    assert started == ToolStep(
        id="1",
        name="sql_query",
        state="started",
        title="Query the database: select 1",
        activity="Running a query",
    )
    assert ended == replace(started, state="finished", output="one row")
    failed = parts.ended_step(call, ToolMessage("no such table", tool_call_id="1", status="error"), TITLES)
    assert (failed.state, failed.output) == ("failed", "no such table")


def test_the_rest_of_an_error_or_of_a_file_is_for_the_model_alone() -> None:
    """Fault: a partial answer and the offline model showed the advice to the model. Data is shown in full."""
    text = "Drawn.\nSay that it is cut."
    error = ToolMessage(text, tool_call_id="1", status="error")
    picture = File(id="1", name="a.png", media_type="image/png", size=1, alt="")
    with_file = ToolMessage(text, tool_call_id="1", artifact=artifact_of([picture]))
    assert [parts.readable(each, text) for each in (error, with_file)] == ["Drawn."] * 2
    assert parts.readable(ToolMessage(text, tool_call_id="1"), text) == text


@pytest.mark.parametrize(
    ("call", "title"),
    [
        (a_call(name="current_time"), "Look at the clock"),
        (a_call(name="current_time", zone=""), "Look at the clock"),
        (a_call(name="export_all", limit=0, table="orders"), "Export all: orders"),
        (a_call(name="sql_schema", table="orders"), "Look at the database schema: orders"),
        (a_call(name="github__create_issue", title="Fire"), "Create issue (github): Fire"),
    ],
)
def test_title_says_in_words_what_is_done(call: ToolCall, title: str) -> None:
    """The first argument that says anything stands behind it."""
    assert parts.started_step(call, TITLES).title == title


@pytest.mark.parametrize(
    ("columns", "rows", "is_complete", "output"),
    [
        (("id", "a|b"), ((1, "x|y"), (2, "| --- |")), True, "2 rows, 2 columns"),
        (("id",), ((1,),), True, "1 row, 1 column"),
        (("id",), (), True, "0 rows, 1 column"),
        (("id", "name"), (("1", "there are more"),) * 100, False, "the first 100 rows, 2 columns"),
    ],
)
def test_the_step_of_a_query_tells_the_size_of_its_result_and_not_its_head(
    columns: tuple[str, ...], rows: tuple[tuple[object, ...], ...], is_complete: bool, output: str
) -> None:
    """People saw `| id | name |` as what a query had found, on Slack and on Discord."""
    table = markdown(Result(tuple(Column(name, "text") for name in columns), rows, is_complete))
    call = ToolCall(name="sql_query", args={"query": "select 1"}, id="1")
    size = TableSize(len(rows), len(columns), not is_complete)
    result = ToolMessage(table, tool_call_id="1", artifact=artifact_of(size=size))
    step = parts.ended_step(call, result, TITLES)
    assert (step.output, step.rows) == (output, len(rows))
    of_an_earlier_version = parts.ended_step(call, ToolMessage(table, tool_call_id="1"), TITLES)
    assert (of_an_earlier_version.output, of_an_earlier_version.rows) == ("", None)


@pytest.mark.parametrize(
    "artifact", [None, [], {"table": 1}, {"table": [1, 2]}, {"table": [-1, 0, False]}, {"table": ["9", 0, 0]}]
)
def test_rows_come_only_from_a_tool_that_has_counted_them(artifact: object) -> None:
    """A text may look like a table, and a checkpoint may hold anything."""
    result = ToolMessage("| a |\n| --- |\n| 1 |", tool_call_id="1", artifact=artifact)
    assert parts.ended_step(a_call(), result, TITLES).rows is None


@pytest.mark.parametrize("seconds", [None, "1", -1.0, float("nan"), 1e300])
def test_a_step_has_no_duration_that_was_not_measured(seconds: object) -> None:
    result = ToolMessage("now", tool_call_id="1", additional_kwargs={"seconds": seconds})
    assert parts.ended_step(a_call(), result, TITLES).seconds is None


def test_a_step_is_replayed_with_the_time_that_its_tool_took_then() -> None:
    """A later attempt neither measures it again nor shows another figure."""
    call = a_call(query="select 1")
    result = parts.finished_result(call, ToolMessage("done", tool_call_id="1"), 0.412)
    *_, ended = parts.replay([AIMessage("", tool_calls=[call]), result], TITLES)
    assert isinstance(ended, ToolStep)
    assert (ended.seconds, ended.outcome) == (0.412, "done, 0.4 s")


def test_a_tool_without_words_is_named_while_it_runs() -> None:
    """Such as one of a plug-in."""
    step = parts.started_step(a_call(name="github__create_issue"), TITLES)
    assert step.ongoing == "Using Create issue (github)"


def test_title_and_output_are_one_short_line() -> None:
    """Whatever the model or the data hold."""
    call = a_call(query="word\n" * 1000)
    step = parts.ended_step(call, ToolMessage("row " * 1000, tool_call_id="1"), TITLES)
    for line in (step.title, step.output):
        assert len(line) < 200
        assert line.endswith("…")
        assert "\n" not in line


def test_only_the_first_text_begins_a_new_paragraph() -> None:
    """Parts before it, a tool's step or a notice, are passed on as they are."""
    shown: list[Part] = []
    emit = parts.new_paragraph(shown.append)
    step = parts.started_step(a_call(), TITLES)
    for part in (step, Notice("n"), Text("a"), Text("b"), step):
        emit(part)
    assert shown == [step, Notice("n"), Text("\n\na"), Text("b"), step]


@pytest.mark.parametrize(
    ("messages", "spoken"),
    [
        ([], False),
        ([HumanMessage("hi")], False),
        ([AIMessage("earlier answer"), HumanMessage("hi")], False),
        ([HumanMessage("hi"), AIMessage("", tool_calls=[a_call()])], False),
        (
            [
                HumanMessage("hi"),
                AIMessage("Look:", tool_calls=[a_call()]),
                ToolMessage("r", tool_call_id="1"),
            ],
            True,
        ),
    ],
)
def test_the_model_has_spoken_once_it_said_something_in_this_turn(
    messages: list[AnyMessage], spoken: bool
) -> None:
    """A call without a word is none."""
    assert parts.has_spoken(messages) == spoken
