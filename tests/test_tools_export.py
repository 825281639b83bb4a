"""Exports: every row as CSV or XLSX, within limits that are said, with no formula in it."""

import csv
import io
import os
import re
import tempfile
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook
from redis.asyncio import Redis

from bot.concurrency.process_pool import ComputeThread
from bot.storage.files import MOST_BYTES, FileStore
from bot.tools.csv_file import harmless
from bot.tools.errors import ToolFailure
from bot.tools.export import Export, export
from bot.tools.row_file import ExportLimits, Format
from bot.tools.sql.database import Database
from tests.support import sql_database
from tests.support.growth import MOST_GROWTH, grows

pool = sql_database.pool


async def export_query(
    redis: Redis, pool: Database, query: str, limits: ExportLimits | None = None, format: Format = "csv"
) -> tuple[Export, bytes]:
    store = FileStore(redis)
    made = await export(pool, store.keep, ComputeThread(), query, limits, format)
    found = await store.find(made.file.id)
    assert found is not None
    return made, found[1]


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


async def test_every_row_is_written_as_spreadsheets_read_it(redis: Redis, pool: Database) -> None:
    made, content = await export_query(
        redis,
        pool,
        """select * from (values (1, 'Zürich, "old"', date '2026-05-01', null, true, 1.50),
        (2, E'two\\nlines', null, '', false, -2)) as t(n, name, day, nothing, flag, price)""",
    )
    assert content.startswith(b"\xef\xbb\xbfn,name,day,nothing,flag,price\r\n")
    assert read(content) == [
        ["n", "name", "day", "nothing", "flag", "price"],
        ["1", 'Zürich, "old"', "2026-05-01", "", "true", "1.50"],
        ["2", "two\nlines", "", "", "false", "-2"],
    ]
    assert made.file.media_type == "text/csv"
    assert "2 rows and 6 columns as CSV" in made.words
    assert "| 1 | Zürich" in made.words


async def test_more_rows_than_an_answer_holds_are_all_there(redis: Redis, pool: Database) -> None:
    made, content = await export_query(redis, pool, "select n from generate_series(1, 2345) as n")
    assert [row[0] for row in read(content)[1:]] == [str(n) for n in range(1, 2346)]
    assert "only the first" not in made.words
    assert made.file.name.startswith("generate-series-20")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("=1+1", "'=1+1"),
        ('=HYPERLINK("http://evil.example")', '\'=HYPERLINK("http://evil.example")'),
        ("+49 30 1234", "'+49 30 1234"),
        ("-cmd", "'-cmd"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("\uff1d1", "'\uff1d1"),
        ("-12.5", "-12.5"),
        ("plain = text", "plain = text"),
    ],
)
async def test_no_cell_is_a_formula(redis: Redis, pool: Database, text: str, kept: str) -> None:
    codes = " || ".join(f"chr({ord(character)})" for character in text)
    _, content = await export_query(redis, pool, f'select {codes} as "=a"')
    assert read(content) == [["'=a"], [kept]]


async def test_limits_on_rows_and_bytes_cut_after_a_whole_row_and_say_so(
    redis: Redis, pool: Database
) -> None:
    made, content = await export_query(
        redis, pool, "select n from generate_series(1, 9999) as n", ExportLimits(rows=600)
    )
    assert len(read(content)) == 601
    assert "only the first 600 rows" in made.words
    query = "select repeat('ü', 100) as a from generate_series(1, 9999) as n"
    made, content = await export_query(redis, pool, query, ExportLimits(size=5_000))
    assert 4_700 < len(content) <= 5_000
    assert {len(row[0]) for row in read(content)[1:]} == {100}
    assert f"only the first {len(read(content)) - 1} rows" in made.words
    assert ExportLimits().size <= MOST_BYTES


async def test_what_has_no_rows_or_may_not_run_is_refused(redis: Redis, pool: Database) -> None:
    for query, words in (
        ("select 1 as a where false", "returned no rows"),
        ("delete from orders", "only SELECT"),
        ("select nothing from orders", "does not exist"),
        ("select 1 / (n - 700) as a from generate_series(1, 999) as n", "division by zero"),
    ):
        with pytest.raises(ToolFailure, match=words):
            await export_query(redis, pool, query)


async def test_what_is_no_select_is_exported_too(redis: Redis, pool: Database) -> None:
    _, content = await export_query(redis, pool, "show server_version")
    assert read(content)[0] == ["server_version"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (" =1+1", " '=1+1"),
        ("\u00a0\u3000=1+1", "\u00a0\u3000'=1+1"),
        ("\ufeff=1+1", "\ufeff'=1+1"),
        ("\u200b\u2060@SUM(A1)", "\u200b\u2060'@SUM(A1)"),
        ("x;=1+1", "x;'=1+1"),
        ("x; \u200b=1+1;y", "x; \u200b'=1+1;y"),
        (";;-2+3", ";;'-2+3"),
        ("x\t=1+1", "x\t'=1+1"),
        ("x\n=1+1\n +2", "x\n'=1+1\n '+2"),
        ('x;"=1+1', "x;\"'=1+1"),
        ('x\t""@SUM(A1)', 'x\t""\'@SUM(A1)'),
        ("a = b; c - d", "a = b; c - d"),
        ("2026-05-01 10:00:00+02", "2026-05-01 10:00:00+02"),
        ("ann@example.com", "ann@example.com"),
        ("x\ny; z", "x\ny; z"),
    ],
)
async def test_no_part_of_a_cell_is_a_formula(redis: Redis, pool: Database, text: str, kept: str) -> None:
    """Fault: CSV formulas behind a semicolon, blanks, a byte order mark or characters without width."""
    codes = " || ".join(f"chr({ord(character)})" for character in text)
    made, content = await export_query(redis, pool, f"select {codes} as a")
    assert read(content) == [["a"], [kept]]
    assert ("apostrophe" in made.words) == (text != kept)


async def test_the_words_say_which_columns_were_altered(redis: Redis, pool: Database) -> None:
    """Fault: phone numbers altered without a word."""
    query = "select '+49 30 1234' as phone, 'x' as name, -1 as n from generate_series(1, 3)"
    made, content = await export_query(redis, pool, query)
    assert read(content)[1] == ["'+49 30 1234", "x", "-1"]
    assert "in phone (3 cells): tell the users" in made.words


@pytest.mark.parametrize("piece", ["\t", ";", " ", "\n ", ";=", "\ufeff", "1,", "-"])
def test_a_cell_costs_linear_time(piece: str) -> None:
    """Fault: a pattern that begins again at each character of a long run."""
    assert grows(harmless, lambda size: piece * (size // len(piece)) + "x") <= MOST_GROWTH


@given(st.text(st.sampled_from(";=\t\n\r +-@x1\ufeff\u200b\uff1d")))
def test_no_reading_of_a_cell_begins_with_a_formula(text: str) -> None:
    """However a spreadsheet takes it apart, and whatever it passes over; what was written is all there."""
    cell = harmless(text)
    if cell != text or not text.strip("+-1"):
        assert cell.replace("'", "") == text
    for part in re.split(r"[;\t\r\n]", cell):
        begins = part.strip(" \ufeff\u200b")[:1]
        assert begins not in set("=+-@\uff1d") - {""} or re.fullmatch(r"[-+]?1+", cell)


@given(st.text(st.sampled_from(';=\t\n\r "@x,+\uff1d')), st.text(st.sampled_from(';=\t\n\r "@x,+')))
def test_no_value_is_a_formula_to_a_spreadsheet_with_another_separator(first: str, second: str) -> None:
    """Fault: CSV formulas that only a program with semicolons or tabs sees."""
    text = io.StringIO(newline="")
    csv.writer(text).writerow([harmless(first), harmless(second)])
    for delimiter in ",;\t":
        values = csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=delimiter)
        assert not [value for row in values for value in row if value.strip()[:1] in {*"=+@\uff1d"}]


async def test_no_line_is_a_formula_to_a_spreadsheet_with_another_separator(
    redis: Redis, pool: Database
) -> None:
    """Fault: `-1` and `0+x` as one value, a formula where a comma is decimal."""
    _, content = await export_query(redis, pool, "select -1 as n, '0+cmd|x' as a union all select 2, 'b'")
    assert b'\r\n"-1","0+cmd|x"\r\n2,b\r\n' in content


# --- XLSX


def cells(content: bytes) -> list[list[Any]]:
    """Return the values of the only sheet, as another program reads them."""
    [name] = (book := CalamineWorkbook.from_filelike(io.BytesIO(content))).sheet_names
    return book.get_sheet_by_name(name).to_python()


def sheet_xml(content: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        return package.read("xl/worksheets/sheet1.xml").decode()


async def test_a_workbook_has_every_value_as_stored(redis: Redis, pool: Database) -> None:
    query = """select * from (values
        (1, 'Zürich', date '2026-05-01', null, true, 1.50, 0.25::float8, 1234567890123456789::int8),
        (2, E'two\\nlines', null, '', false, -2.25, 'nan', 5::int8))
        as t(n, name, day, nothing, flag, price, share, id)"""
    made, content = await export_query(redis, pool, query, format="xlsx")
    assert cells(content) == [
        ["n", "name", "day", "nothing", "flag", "price", "share", "id"],
        [1, "Zürich", date(2026, 5, 1), "", True, 1.5, 0.25, "1234567890123456789"],
        [2, "two\nlines", "", "", False, -2.25, "NaN", 5],
    ]
    assert made.file.name.endswith(".xlsx")
    assert made.file.media_type.endswith("spreadsheetml.sheet")
    assert "2 rows and 8 columns as XLSX" in made.words
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        assert 'formatCode="0.00"' in package.read("xl/styles.xml").decode()  # 1.50 is shown as such


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+49 30 1234",
        "@SUM(A1)",
        "{=1+1}",
        "https://example.org/",
        "0123",
        "1e5",
        "<r><t>rich</t></r>",
        "<r></c><c><f>1+1</f></c></r>",
        " padded ",
        "_x0041_",
        "a\tb\rc\x01d",
        "<b>&amp;</b>",
    ],
)
async def test_a_text_stays_a_text_in_a_workbook(redis: Redis, pool: Database, text: str) -> None:
    """Also one that xlsxwriter takes for its own markup."""
    codes = " || ".join(f"chr({ord(character)})" for character in text)
    made, content = await export_query(redis, pool, f'select {codes} as "=a", {codes} as b', format="xlsx")
    assert cells(content) == [["=a", "b"], [text, text]]
    assert "<f>" not in sheet_xml(content)
    assert "tell the users" not in made.words


async def test_equal_rows_make_an_equal_workbook(redis: Redis, pool: Database) -> None:
    """A repeated call shows the same file, not a second one."""
    query = "select n, 'x' as a from generate_series(1, 2345) as n"
    first, content = await export_query(redis, pool, query, format="xlsx")
    second, again = await export_query(redis, pool, query, format="xlsx")
    assert first.file == second.file
    assert content == again
    assert len(cells(content)) == 2_346


async def test_a_workbook_within_limits_says_what_is_cut(redis: Redis, pool: Database) -> None:
    query = "select n from generate_series(1, 9999) as n"
    made, content = await export_query(redis, pool, query, ExportLimits(rows=600), "xlsx")
    assert len(cells(content)) == 601
    assert "only the first 600 rows" in made.words
    query = "select repeat('ü', 100) as a from generate_series(1, 9999) as n"
    made, content = await export_query(redis, pool, query, ExportLimits(size=50_000), "xlsx")
    assert f"only the first {len(cells(content)) - 1} rows" in made.words
    made, content = await export_query(
        redis, pool, "select repeat(chr(128512), 20000) as long, 1 as n", format="xlsx"
    )
    assert len(cells(content)[1][0]) == 32_767 // 2
    assert "Values too long for a cell of Excel were cut in long (1 cell): tell the users." in made.words


async def test_a_workbook_leaves_no_file_on_the_disk(
    redis: Redis, pool: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    await export_query(redis, pool, "select 1 as n", format="xlsx")
    for query in ("select 1 as n where false", "select 1 / (n - 700) as a from generate_series(1, 999) as n"):
        with pytest.raises(ToolFailure):
            await export_query(redis, pool, query, format="xlsx")
    assert os.listdir(tmp_path) == []


async def test_a_disk_that_takes_no_file_is_a_sentence(
    redis: Redis, pool: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(ToolFailure, match="The file could not be written"):
        await export_query(redis, pool, "select 1 as n", format="xlsx")
