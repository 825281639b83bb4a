"""Tables and charts of an answer on Slack: as native as the workspace takes them, shown once, never lost."""

import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from bot.chat import (
    Chart,
    ChartSeries,
    File,
    Json,
    LeaseLost,
    Part,
    Receipt,
    Table,
    TableColumn,
    Text,
    Unreachable,
    inert,
)
from bot.slack.artifacts import NativeBlocks
from bot.slack.data_blocks import TableForm, chart_content, is_all, table_content
from bot.slack.errors import Refused
from bot.slack.rate_limits import PER_MINUTE
from bot.storage.files import FileStore
from tests.servers.slack.rules import check_blocks
from tests.servers.slack.service import GENERAL, Slack
from tests.support.files import PICTURE, QuestionRun
from tests.support.slack_reply import STATUS_FIRST, ask_question

COLUMNS = (TableColumn("status"), TableColumn("orders", is_number=True))


@pytest.fixture
async def file(redis: Redis) -> File:
    return await FileStore(redis).keep(
        "orders.csv", "text/csv", b"status,orders\r\nnew,5\r\n", "2 rows as CSV"
    )


@pytest.fixture
async def picture(redis: Redis) -> File:
    stored = await FileStore(redis).keep("orders.png", "image/png", PICTURE, "Bar chart of orders")
    series = (ChartSeries("Orders", (5.0, 90.0)),)
    return replace(stored, chart=Chart(kind="bar", title="Orders", labels=("new", "done"), series=series))


def a_table(file: File, rows: int = 2, *, total: int = 0, status: str = "new") -> Table:
    """Return a table with this number of rows, of `total` in the result."""
    values = tuple((f"{status} {number}", str(number)) for number in range(rows))
    return Table(
        title="Orders", columns=COLUMNS, rows=values, total=total or rows, total_columns=2, file=file
    )


def shown(slack: Slack, question: QuestionRun) -> list[str]:
    """Return what each reply of the thread is: text, the kinds of its blocks, or the names of its files."""
    replies = slack.replies(GENERAL, question.thread.thread)
    return [
        " ".join(
            [block["type"] for block in each.blocks] or [file.name for file in each.files] or [each.text]
        )
        for each in replies
    ]


def cells(block: Json) -> list[list[Json]]:
    return [[cell.get("value", cell["text"]) for cell in row] for row in block["rows"]]


@pytest.mark.parametrize("kind", ["channel", "mpim"])  # a group's direct message takes no streams
async def test_a_table_and_a_chart_are_blocks_below_the_text(
    slack: Slack, redis: Redis, file: File, picture: File, kind: str
) -> None:
    async with ask_question(slack, redis, kind) as question:
        await question.answer(Text("Here they are."), a_table(file), picture)
        assert shown(slack, question) == ["Here they are.", "data_table", "data_visualization"]
        _, table, chart = slack.replies(GENERAL, question.thread.thread)
        assert cells(table.blocks[0]) == [["status", "orders"], ["new 0", 0], ["new 1", 1]]
        assert (table.blocks[0]["caption"], table.text) == ("Orders", "Orders")
        assert chart.text == "Bar chart of orders"
        assert chart.blocks[0]["chart"]["axis_config"] == {"categories": ["new", "done"]}


async def test_a_workspace_without_the_blocks_gets_a_table_and_a_picture_and_is_not_asked_again(
    slack: Slack, redis: Redis, file: File, picture: File
) -> None:
    slack.lack_blocks("data_table", "data_visualization")
    async with ask_question(slack, redis) as question:
        await question.answer(Text("There."), a_table(file), a_table(file), picture)
        assert shown(slack, question) == ["There.", "section table", "section table", "orders.png"]
    refused = [call.error for call in slack.web_api.calls if call.method == "chat.postMessage"]
    assert refused == ["invalid_blocks", None, None, "invalid_blocks"]


async def test_a_workspace_without_any_tables_gets_them_as_aligned_text(
    slack: Slack, redis: Redis, file: File
) -> None:
    slack.lack_blocks("data_table", "table")
    async with ask_question(slack, redis) as question:
        await question.answer(Text("There."), a_table(file, status="<!channel> ```"))
        _, text = slack.replies(GENERAL, question.thread.thread)
        assert text.text.splitlines()[0] == "```"
        assert "&lt;!channel&gt; ''' 1       1" in text.text
        assert "<" not in text.text


async def test_a_table_that_slack_takes_in_no_form_comes_as_a_file(
    slack: Slack, redis: Redis, file: File
) -> None:
    """Otherwise the users got a sentence instead, or the whole answer was given up."""
    slack.fail("chat.postMessage", error="restricted_action", times=math.inf)
    async with ask_question(slack, redis) as question:
        await question.answer(Text("There."), a_table(file))
        assert shown(slack, question) == ["There.", "orders.csv"]


@pytest.mark.parametrize("lacking", [(), ("data_table",), ("data_table", "table")])
async def test_what_has_no_room_comes_as_a_file(
    slack: Slack, redis: Redis, file: File, lacking: tuple[str, ...]
) -> None:
    slack.lack_blocks(*lacking)
    async with ask_question(slack, redis) as question:
        await question.answer(Text("There."), a_table(file, 100, total=4_210))
        _, table, rest = slack.replies(GENERAL, question.thread.thread)
        assert [each.name for each in rest.files] == ["orders.csv"]
        assert "of 4,210 rows; orders.csv has more." in table.visible_text


async def test_a_table_of_100_rows_is_whole_without_a_file_only_where_it_fits(
    slack: Slack, redis: Redis, file: File
) -> None:
    async with ask_question(slack, redis) as question:
        await question.answer(Text("There."), a_table(file, 100))
        assert shown(slack, question) == ["There.", "data_table"]
    slack.lack_blocks("data_table")
    async with ask_question(slack, redis) as question:
        await question.answer(Text("There."), a_table(file, 100))
        assert shown(slack, question) == ["There.", "section table context", "orders.csv"]


@pytest.mark.parametrize("lacking", [(), ("data_table", "data_visualization")])
async def test_a_reply_that_dies_before_any_of_its_notes_is_stored_shows_all_of_it_once(
    slack: Slack, redis: Redis, file: File, picture: File, lacking: tuple[str, ...]
) -> None:
    """As after kill -9: what was noted last is lost, what Slack has taken is not."""
    slack.lack_blocks(*lacking)
    slack.tolerate("message_not_in_streaming_state")  # the stream that was ended is ended again
    whole: list[str] = []
    for stored in range(20):
        async with ask_question(slack, redis, per_minute=dict.fromkeys(PER_MINUTE, 1_000)) as question:
            question.id = f"question {stored}"
            parts: list[Part] = [Text("There."), a_table(file, total=9), picture]
            has_died = not await attempt(question, stored, *parts)
            assert await attempt(question, 1_000, *parts)
            whole = whole or shown(slack, question)
            assert shown(slack, question) == whole, stored
        if not has_died:
            break
    assert (len(whole), stored > 4) == (4, True)


async def attempt(question: QuestionRun, notes_left: int, *parts: Part) -> bool:
    """Run one attempt that dies when it stores one note more than these; return whether it did not."""

    async def keep(state: Mapping[str, Json]) -> None:
        nonlocal notes_left
        notes_left -= 1
        if notes_left < 0:
            raise LeaseLost("dead")
        question.state = dict(state)

    async def all_parts() -> AsyncIterator[Part]:
        for part in parts:
            yield part

    receipt = Receipt(question.turn, keep, dict(question.state))
    try:
        await question.platform.thread(question.thread).reply(all_parts(), receipt)
    except LeaseLost:
        return False
    return True


@pytest.mark.parametrize("after_applying", [False, True])
async def test_a_table_is_shown_once_though_nobody_knows_what_came_of_the_post(
    slack: Slack, redis: Redis, file: File, picture: File, after_applying: bool
) -> None:
    """Also if the next attempt has other rows: the table that is shown remains."""
    slack.fail("chat.postMessage", times=2, status=503, after_applying=after_applying)
    async with ask_question(slack, redis) as question:
        for rows in (2, 3, 4, 5):
            with contextlib.suppress(Unreachable):
                await question.answer(Text("There."), a_table(file, rows, total=50), picture, Text(" Done."))
        assert question.state["finished"]
        assert shown(slack, question) == [
            "There. Done.",
            "data_table context",
            "orders.csv",
            "data_visualization",
        ]


async def test_a_chart_whose_picture_was_begun_is_not_drawn_by_slack_too(
    slack: Slack, redis: Redis, picture: File
) -> None:
    slack.lack_blocks("data_visualization")
    slack.fail("files.completeUploadExternal", status=503, after_applying=True)
    forgetful = replace(STATUS_FIRST, block_refusal=0)  # as after a restart
    async with ask_question(slack, redis, timing=forgetful) as question:
        with contextlib.suppress(Unreachable):
            await question.answer(Text("There."), picture)
        slack.web_api.lacking.clear()
        await question.answer(Text("There."), picture)
        assert shown(slack, question) == ["There.", "orders.png"]


@pytest.mark.parametrize(
    "value", ["\u202e" * 9, "9" * 30, "\N{LOCK WITH INK PEN}" * 200, "&" * 200, "\U0001f600" * 200]
)
def test_any_table_keeps_the_limits_of_slack(file: File, value: str) -> None:
    """Also one that grows after the tool has cut it, because a value imitates a request."""
    columns = tuple(TableColumn("c" * 60, is_number=bool(number % 2)) for number in range(20))
    values = tuple(tuple(("1e-7", None, value)[(row + at) % 3] for at in range(20)) for row in range(9))
    table = inert(
        Table(
            title="t" * 500, columns=columns, rows=values, total=9, total_columns=30, has_more=True, file=file
        )
    )
    assert isinstance(table, Table)
    forms: tuple[TableForm, ...] = ("data_table", "table", "text")
    for form in forms:
        content = table_content(table, form)
        check_blocks(content.get("blocks", []))
        assert len(content["text"]) < 20_000
        assert not is_all(table, form)


def test_a_kind_of_block_that_was_taken_is_not_given_up_for_what_is_in_one() -> None:
    native, refused = NativeBlocks(60), Refused("chat.postMessage", "invalid_blocks")
    native.note_taken("table")
    for kind in ("table", "data_table"):
        native.note_refused(kind, refused)
    assert [native.accepts("table"), native.accepts("data_table")] == [True, False]


@pytest.mark.parametrize(
    "chart",
    [
        Chart(kind="bar", title="t", labels=tuple("abcdefghijklmnopqrstuvwxyz"), series=()),
        Chart(kind="line", title="t", labels=("a" * 30, "a" * 31), series=(ChartSeries("x", (1.0, 2.0)),)),
        Chart(kind="pie", title="t", labels=("a", "b"), series=(ChartSeries("x", (1.0, -2.0)),)),
        Chart(kind="line", title="t", labels=("a", "b"), series=(ChartSeries("x", (1.0,)),)),
    ],
)
def test_a_chart_that_slack_would_refuse_stays_a_picture(chart: Chart) -> None:
    assert chart_content(chart, "about") is None
