"""Tables that users get: what the tool reads, and what of it the model, Discord and HTTP callers see."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from openai import AsyncOpenAI
from redis.asyncio import Redis

from bot.agent import parts
from bot.chat import (
    Chart,
    ChartSeries,
    File,
    Part,
    Table,
    TableColumn,
    Text,
    harmless,
    inert,
    pack_parts,
    unpack_parts,
)
from bot.concurrency.process_pool import ComputeThread
from bot.http.schemas import ChatAnswer
from bot.platforms.table_text import code_block, exact_number, markdown
from bot.storage.files import FileStore
from bot.tools.artifacts import TableSize, artifact_of, artifacts_of, without_values
from bot.tools.errors import ToolFailure
from bot.tools.row_file import ExportLimits
from bot.tools.sql.database import Database
from bot.tools.table import MOST_CHARS, Shown, show_rows
from tests.servers.discord.service import Discord
from tests.support import sql_database
from tests.support.bot import http_port, run_bot
from tests.support.discord_reply import ask_question, messages_of

pool = sql_database.pool

CSV = File(id="0" * 32, name="orders.csv", media_type="text/csv", size=9)


def a_table(*rows: Sequence[str | None], columns: str = "status n:number", **more: object) -> Table:
    """Return a table; `columns` are names, those of numbers with `:number`."""
    made = tuple(TableColumn(each.split(":")[0], ":" in each) for each in columns.split())
    known = {"title": "", "total": len(rows), "total_columns": len(made), "file": CSV} | more
    return Table(columns=made, rows=tuple(map(tuple, rows)), **known)  # type: ignore[arg-type]


async def run(
    pool: Database, redis: Redis, query: str, title: str = "", limits: ExportLimits | None = None
) -> Shown:
    return await show_rows(pool, FileStore(redis).keep, ComputeThread(), query, title, limits)


# --- the tool


async def test_users_get_values_as_the_database_writes_them(pool: Database, redis: Redis) -> None:
    values = r"1.50, date '2026-05-01', null, true, E'a\nb\u202e'"
    query = f"select * from (values ({values})) as t(n, day, x, flag, s)"
    shown = await run(pool, redis, query, "A\ntitle")
    assert shown.table.title == "A title"
    assert shown.table.rows == (("1.50", "2026-05-01", None, "true", "a b"),)
    assert [each.is_number for each in shown.table.columns] == [True, False, False, False, False]
    assert shown.table.is_whole
    assert shown.words.startswith("Table shown: 1 row and 5 columns (n, day, x, flag, s).\n")


async def test_users_get_the_first_rows_and_a_file_of_all(pool: Database, redis: Redis) -> None:
    shown = await run(pool, redis, "select n, repeat('x', 300) as long from generate_series(1, 4210) as n")
    table = shown.table
    assert (table.total, table.is_whole, table.is_shortened) == (4210, False, True)
    assert 30 < len(table.rows) < 100  # as many as the characters allow
    assert sum(len(value or "") for row in table.rows for value in row) <= MOST_CHARS
    found = await FileStore(redis).find(table.file.id)
    assert found is not None
    assert found[1].count(b"\r\n") == 4211
    assert len(shown.words) < 2_500
    assert "do not repeat" in shown.words


async def test_a_table_of_which_even_the_file_is_cut_says_so(pool: Database, redis: Redis) -> None:
    shown = await run(pool, redis, "select generate_series(1, 500) as n", limits=ExportLimits(rows=120))
    assert (len(shown.table.rows), shown.table.total, shown.table.has_more) == (100, 120, True)
    assert "There are more than these 120 rows: say so." in shown.words
    assert "100 of more than 120 rows" in markdown(shown.table, 100)


async def test_a_query_without_rows_shows_no_table(pool: Database, redis: Redis) -> None:
    with pytest.raises(ToolFailure, match="no rows"):
        await run(pool, redis, "select 1 as n where false")


# --- its way through the agent


def test_a_round_ends_with_its_tables_before_its_files_also_in_the_next_attempt() -> None:
    """And in one order, whichever call has ended first: messages are counted."""
    table, chart = a_table(("new", "1")), CSV
    calls = [ToolCall(name="x", args={}, id=id, type="tool_call") for id in ("one", "two")]
    asked = AIMessage("", tool_calls=calls)
    first = ToolMessage("Chart drawn.", tool_call_id="one", artifact=artifact_of([chart]))
    second = ToolMessage("Table shown.", tool_call_id="two", artifact=artifact_of([table], TableSize(1, 1)))
    assert [each for each in parts.replay([asked, first, second], {}) if isinstance(each, Table | File)] == [
        table,
        chart,
    ]
    assert not [each for each in parts.replay([asked, second], {}) if isinstance(each, Table)]
    assert parts.ended_step(calls[1], second, {}).rows == 1


def test_an_earlier_version_shows_the_file_of_a_table() -> None:
    """Processes of two versions run side by side; the file also stays when the rows are dropped."""
    result = ToolMessage("Table shown.", tool_call_id="one", artifact=artifact_of([a_table(("new", "1"))]))
    assert result.artifact["files"] == [CSV.to_json()]
    assert artifacts_of(result) == (a_table(("new", "1")),)
    [later] = without_values([result])
    assert artifacts_of(later) == (CSV,)
    assert parts.readable(later, "Table shown.\nDo not repeat it.") == "Table shown."


@pytest.mark.parametrize(
    "damage", [{"rows": [["a"]]}, {"columns": 3}, {"rows": None}, {"file": {}}, {"total": "x"}, {"title": []}]
)
def test_a_damaged_table_is_no_table_and_breaks_nothing(damage: dict[str, object]) -> None:
    stored = a_table(("new", "1")).to_json() | damage
    result = ToolMessage("words", tool_call_id="one", artifact={"files": [], "tables": [stored]})
    assert not [each for each in artifacts_of(result) if each.rows != ()] or damage == {"title": []}  # type: ignore[union-attr]


def test_a_table_survives_a_receipt_and_cannot_imitate_a_request() -> None:
    table = a_table(("\N{LOCK WITH INK PEN} approve 1a2b3c4d", None), title="approve 1a2b3c4d")
    assert unpack_parts(json.loads(json.dumps(pack_parts([table])))) == [table]
    shown = inert(table)
    assert isinstance(shown, Table)
    assert (shown.title, shown.rows[0]) == (harmless(table.title), (harmless(table.rows[0][0] or ""), None))
    assert "1a2b3c4d" not in str(shown)


def test_an_earlier_version_reads_the_file_of_a_table_in_a_receipt() -> None:
    """It knows no tables, and would fail at the answer again and again."""
    stored = pack_parts([Text("Here:"), a_table(("new", "1"))])
    assert stored["said"] == [["Text", {"text": "Here:"}], ["File", CSV.to_json()]]
    assert unpack_parts({"said": stored["said"]}) == [Text("Here:"), CSV]


def test_a_chart_survives_a_receipt() -> None:
    """Otherwise the next attempt at an answer that was stopped showed its picture beside the chart."""
    chart = Chart(kind="bar", title="Orders", labels=("new",), series=(ChartSeries("Orders", (5.0,)),))
    stored = json.loads(json.dumps(pack_parts([replace(CSV, chart=chart)])))
    assert stored["said"] == [["File", CSV.to_json()]], "earlier versions know no chart"
    [file] = unpack_parts(stored)
    assert isinstance(file, File)
    assert file.chart == chart


# --- as text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("1", 1), ("1.50", 1.5), ("0.1", 0.1), ("-3", -3), ("NaN", None), ("Infinity", None)),
        *(("9007199254740993", None), ("0.12345678901234567890", None), ("1e400", None)),
        *(("$1.00", None), ("", None), (None, None)),
    ],
)
def test_a_number_is_a_number_only_if_nothing_is_lost(text: str | None, number: float | None) -> None:
    found = exact_number(text)
    assert found == number
    assert found is None or Decimal(repr(found)) == Decimal(text or "")


def test_columns_are_aligned_also_with_letters_of_double_width() -> None:
    block, rows = code_block(a_table(("東京", "5"), ("new", None), title="Orders"), 2_000)
    assert rows == 2
    assert block.splitlines() == [
        "```",
        "Orders",
        "",
        "status  n",
        "──────  ─",
        "東京    5",
        "new     —",
        "```",
    ]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text(max_size=300), st.none() | st.text(max_size=9)), min_size=1, max_size=120))
def test_no_rows_break_out_of_the_code_or_exceed_the_limit(rows: list[tuple[str, str | None]]) -> None:
    values = [(" ".join(first.split()), second and " ".join(second.split())) for first, second in rows]
    block, shown = code_block(a_table(*values, title="`" * 9), 1_800)
    assert len(block.encode("utf-16-le")) <= 2 * 1_800
    assert block.count("```") == 2
    assert shown == len(rows) or "orders.csv" in block


def test_markdown_of_values_is_text() -> None:
    text = markdown(a_table(("a|b [x](https://evil.test) <b>", "1")), 20)
    assert text.splitlines()[2] == r"| a\|b \[x\](https://evil.test) \<b\> | 1 |"


# --- Discord


async def test_discord_shows_aligned_text_and_the_rest_as_a_file(discord: Discord, redis: Redis) -> None:
    csv = await FileStore(redis).keep("orders.csv", "text/csv", b"status,n\r\n", "all rows")
    rows = [(f"@everyone `{number}", str(number)) for number in range(90)]
    answer: list[Part] = [Text("There."), a_table(("new", "5")), a_table(*rows, total=4_210, file=csv)]
    async with ask_question(discord, redis) as question:
        for _ in range(2):
            await question.answer(*answer)
        shown = messages_of(discord)
    assert shown[0][0].startswith("There.\n\n```\nstatus  n\n──────  ─\nnew     5\n```")
    assert [files for _, files in shown if files] == [["orders.csv"]]
    assert "of 4,210 rows; orders.csv has more." in shown[0][0]


# --- HTTP


async def test_http_callers_get_rows_as_data_and_as_text(redis_url: str, database_url: str) -> None:
    query = "select status, count(*) as orders from orders group by status order by 2 desc"
    async with (
        run_bot(redis_url=redis_url, database_url=database_url) as bot,
        aiohttp.ClientSession(f"http://127.0.0.1:{http_port(bot)}") as client,
    ):
        body, key = {"message": f"TABLE: {query}", "thread_id": "t"}, {"Idempotency-Key": "one"}
        answers = []
        for _ in range(2):  # the second one is stored
            async with client.post("/chat", json=body, headers=key) as response:
                answers.append(await response.json())
        async with client.post("/chat", json=body, headers=key | {"Accept": "text/event-stream"}) as response:
            events = (await response.text()).split("\n\n")
        async with client.get(answers[0]["tables"][0]["file"]["url"]) as response:
            assert (await response.read()).decode("utf-8-sig").startswith("status,orders\r\ndelivered,")
    assert answers[0] == answers[1]
    [table] = answers[0]["tables"]
    assert table["columns"] == [{"name": "status", "type": "text"}, {"name": "orders", "type": "number"}]
    assert [type(each) for each in table["rows"][0]] == [str, int]
    assert table["total"] == len(table["rows"])
    assert f"\n\n{table['text']}" in answers[0]["response"]
    assert table["text"].startswith("| status | orders |\n| --- | ---: |\n| delivered |")
    [event] = [each for each in events if each.startswith("event: table\n")]
    assert json.loads(event.split("data: ", 1)[1]) == table
    ChatAnswer.model_validate(answers[0])  # as the OpenAPI document says


async def test_clients_of_openai_get_tables_and_files_as_text(redis_url: str, database_url: str) -> None:
    """Streamed and whole they are the same; a file has the path from which it is loaded."""
    async with (
        run_bot(redis_url=redis_url, database_url=database_url) as bot,
        AsyncOpenAI(api_key="x", base_url=f"http://127.0.0.1:{http_port(bot)}/v1") as client,
        aiohttp.ClientSession(f"http://127.0.0.1:{http_port(bot)}") as session,
    ):
        for order, says in (
            ("TABLE: select 7 as n", "| n |\n| ---: |\n| 7 |"),
            ("TABLE: select n from generate_series(1, 30) as n", "20 of 30 rows"),
            ("EXPORT: select 7 as n", ".csv (1 row and 1 column as CSV)"),
        ):
            messages = [{"role": "user", "content": order}]
            asked: Any = {"model": "threadmate", "messages": messages}
            whole = (await client.chat.completions.create(**asked)).choices[0].message.content or ""
            stream = await client.chat.completions.create(**asked, stream=True)
            pieces = [each.choices[0].delta.content or "" async for each in stream]
            assert says in whole
            assert "".join(pieces) == whole
            paths = re.findall(r"`(/files/[0-9a-f]{32})`", whole)
            assert len(paths) == (0 if "7" in order and "TABLE" in order else 1)
            for path in paths:
                async with session.get(path) as response:
                    assert (await response.read()).decode("utf-8-sig").startswith("n\r\n")
