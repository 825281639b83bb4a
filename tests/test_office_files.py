"""Documents that people send: DOCX, XLSX, PPTX and HTML, as the model reads them, and those that do harm."""

import datetime
import io
import zipfile
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from bot.agent.attachments import AttachmentLimits
from bot.agent.attachments.documents import MOST_PAGE, MOST_PARTS, MOST_UNPACKED
from bot.agent.attachments.file_types import kind_of
from bot.agent.spotlighting import unmark
from tests.support.attachments import read_files
from tests.support.documents import archive, docx, paragraph, pptx, xlsx

COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
PROTECTED = COMPOUND + "EncryptedPackage".encode("utf-16-le")
PAGE = b"<!DOCTYPE html>\n<html><head><title>Rates</title><style>p {}</style></head><body>"


async def text_of(redis: Redis, name: str, content: bytes, chars: int = 20_000) -> tuple[str, str]:
    """Return what the model reads of a file: the first line, about the file, and its text."""
    made = await read_files(redis, (name, content), limits=AttachmentLimits(chars=chars))
    assert made.problems == ()
    return made.text.split("\n")[0], unmark(made.text)


# --- what a file is


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (docx(paragraph("x")), "docx"),
        (xlsx({"A": [["x"]]}), "xlsx"),
        (pptx(("x", "y"), table=[["a"]]), "pptx"),  # its chart has a workbook inside
        (archive({"word.txt": "x", "notes/xl/a.txt": "x"}), "other"),
        (COMPOUND, "old document"),
        (PROTECTED, "protected document"),
        (PAGE, "html"),
        (b"\xef\xbb\xbf <!-- a -->\n<HTML>", "html"),
        (b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">', "html"),
        ("<html>größer".encode("latin-1"), "html"),
        (b"A text about <html> pages", "text"),
        (b"<htmlx>", "text"),
        (b"<!--" + b"--><!--" * 1_000, "text"),
        (b"<!DOCTYPE html>" + bytes(100), "other"),
    ],
)
def test_a_document_is_what_it_holds_whatever_it_is_called(content: bytes, kind: str) -> None:
    assert kind_of(content) == kind


# --- what the model reads


async def test_a_docx_is_read_with_its_headings_lists_tables_and_links(redis: Redis) -> None:
    cell = "<w:tc>{}</w:tc>"
    rows = "".join(
        f"<w:tr>{''.join(cell.format(paragraph(each)) for each in row)}</w:tr>"
        for row in (("Month", "Revenue"), ("May", "4711"))
    )
    link = f'<w:hyperlink r:id="web">{paragraph("our page")[5:-6]}</w:hyperlink>'
    web = '<Relationship Id="web" TargetMode="External" Target="https://example.org/" Type="x/hyperlink"/>'
    removed = "<w:p><w:del><w:r><w:delText>dismissed</w:delText></w:r></w:del></w:p>"
    body = paragraph("Plan", "Heading1") + paragraph("We *ship* &lt;it&gt;") + f"<w:p>{link}</w:p>" + removed
    about, text = await text_of(redis, "plan.docx", docx(body + f"<w:tbl>{rows}</w:tbl>", relations=web))
    assert about == "[data from the file plan.docx (DOCX)]"
    assert text.startswith("# Plan\n\nWe *ship* <it>\n\n[our page](https://example.org/)\n\n")
    assert "| Month | Revenue |\n| --- | --- |\n| May | 4711 |" in text
    assert "dismissed" not in text


async def test_an_xlsx_is_read_sheet_by_sheet_with_values_as_stored(redis: Redis) -> None:
    rows: list[list[object]] = [
        ["month", "revenue", "note"],
        [datetime.date(2026, 1, 2), 4711, "a|b\nc"],
        [],
        [datetime.date(2026, 2, 1), 0.1 + 0.2, True],
    ]
    content = xlsx({"Sales": rows, "Empty": [], "Old": [["x"]]}, hidden=["Old"])
    about, text = await text_of(redis, "sales.xlsx", content)
    assert about == "[data from the file sales.xlsx (XLSX, 3 sheets)]"
    assert text.splitlines() == [
        "## Sales",
        "",
        "| month | revenue | note |",
        "|---|---|---|",
        r"| 2026-01-02 | 4711 | a\|b c |",
        "| 2026-02-01 | 0.3 | TRUE |",
        "",
        "## Old (hidden)",
        "",
        "| x |",
        "|---|",
    ]


async def test_a_pptx_is_read_slide_by_slide_with_tables_charts_and_notes(redis: Redis) -> None:
    deck = pptx(("Plan", "First\nSecond"), ("Result", "Good"), notes="Smile", table=[["a", "b"], ["1", "2"]])
    about, text = await text_of(redis, "deck.pptx", deck)
    assert about == "[data from the file deck.pptx (PPTX, 2 slides)]"
    assert text == (
        "## Slide 1\n\nPlan\nFirst\nSecond\n\n## Slide 2\n\nResult\nGood\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n|  | Q1 | Q2 |\n|---|---|---|\n"
        "| Revenue | 10.5 | 20 |\n\nNotes: Smile"
    )


async def test_a_page_is_read_as_text_and_as_its_source_if_it_is_called_txt(redis: Redis) -> None:
    page = PAGE + (
        b"<script>alert(1)</script><h1>Rates</h1><ul><li>one<li>two</ul>"
        b"<a href='https://example.org/a'>more</a> <a href='javascript:alert(1)'>click</a>"
        b"<img alt='a cat' src='data:image/png;base64,AAAA'></body></html>"
    )
    about, text = await text_of(redis, "rates.html", page)
    assert about.startswith("[data from the file rates.html (HTML as text; ")
    assert text == "Rates\n\n# Rates\n\n- one\n- two\n\n[more](https://example.org/a) click(picture: a cat)"
    _, source = await text_of(redis, "rates.TXT", page)
    assert source == page.decode()


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
async def test_a_page_is_read_in_the_encoding_that_it_says(redis: Redis, encoding: str) -> None:
    page = f'<!doctype html><html><meta charset="{encoding}"><p>Zürich: 5 €</p></html>'
    assert (await text_of(redis, "a.html", page.encode(encoding)))[1] == "Zürich: 5 €"


@pytest.mark.parametrize(
    "content",
    [
        docx(paragraph("word " * 2_000)),
        xlsx({"A": [["word"] * 10] * 1_000, "B": [["x"]]}),
        pptx(*[("title", "word " * 100)] * 30),
        PAGE + b"<p>word</p>" * 2_000,
    ],
    ids=["docx", "xlsx", "pptx", "html"],
)
async def test_a_long_document_is_cut_and_says_so(redis: Redis, content: bytes) -> None:
    _, text = await text_of(redis, "long", content, chars=1_000)
    assert text.endswith("\n[cut here: these are the first 1,000 characters]")
    assert len(text) < 1_060


async def test_of_a_page_of_megabytes_the_beginning_is_read(redis: Redis) -> None:
    page = PAGE + b"<p>Before</p><script>" + b"x" * MOST_PAGE + b"</script>After"
    _, text = await text_of(redis, "long.html", page)
    assert text == "Rates\n\nBefore\n\n[The rest of the page is left out.]"


async def test_the_text_of_a_document_with_macros_is_read_without_them(redis: Redis) -> None:
    content = docx(paragraph("Invoice"), more={"word/vbaProject.bin": b"Sub AutoOpen()"})
    about, text = await text_of(redis, "invoice.docm", content)
    assert about == "[data from the file invoice.docm (DOCX, without its macros)]"
    assert text == "Invoice"


async def test_a_document_that_names_files_and_addresses_is_read_without_them(redis: Redis) -> None:
    """The sandbox could open neither."""
    picture = (
        "<w:p><w:r><w:drawing><wp:inline xmlns:wp="
        '"http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing"><wp:docPr descr="a map"/>'
        '<a:graphic><a:graphicData><pic:pic><pic:blipFill><a:blip r:link="file"/></pic:blipFill></pic:pic>'
        "</a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
    )
    file = '<Relationship Id="file" TargetMode="External" Target="file:///etc/passwd" Type="x/image"/>'
    _, text = await text_of(redis, "a.docx", docx(paragraph("Before") + picture, relations=file))
    assert text == "Before\n\n(picture: a map)"


# --- documents that do harm


def zip_bomb() -> bytes:
    """A document of 200 KB with more bytes than may be unpacked."""
    size = 1 << 20
    return docx(paragraph("x"), more={f"{n}.bin": bytes(size) for n in range(MOST_UNPACKED // size + 1)})


def many_parts() -> bytes:
    return docx(paragraph("x"), more={f"word/{number}.xml": "" for number in range(MOST_PARTS)})


def lying_bomb() -> bytes:
    """A document whose text unpacks to more than the archive says."""
    content = bytearray(docx(paragraph("x" * 3_000_000)))
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        told = package.getinfo("word/document.xml").file_size
    size = told.to_bytes(4, "little")
    return bytes(content.replace(size, (1_000).to_bytes(4, "little")))


def entity_bomb() -> bytes:
    """Billion laughs: a few entities that unfold to gigabytes."""
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    return docx(paragraph("&e9;"), prolog=f"<!DOCTYPE w:document [{entities}]>")


def external_entity() -> bytes:
    return docx(
        paragraph("&file;"), prolog='<!DOCTYPE w:document [<!ENTITY file SYSTEM "file:///etc/passwd">]>'
    )


def far_cell() -> bytes:
    """A workbook with one value in each of two opposite corners."""
    content = xlsx({"A": [["x"]]})
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        parts: dict[str, str | bytes] = {name: package.read(name) for name in package.namelist()}
        sheet = package.read("xl/worksheets/sheet1.xml").decode()
    corner = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    return archive(parts | {"xl/worksheets/sheet1.xml": sheet.replace("</sheetData>", corner)})


def deep_page() -> bytes:
    return PAGE + b"<div>" * 100_000 + b"text"


def broken(content: bytes) -> bytes:
    """The beginning and the directory of a document, without the middle."""
    return content[:100] + content[300:]


TOO_LARGE = "it unpacks to more than I can open"
DAMAGED = "it is damaged, or not what its name says"
EXPENSIVE = "opening it takes too much memory"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (zip_bomb, TOO_LARGE),
        (many_parts, TOO_LARGE),
        (lying_bomb, DAMAGED),
        (entity_bomb, "it declares XML entities, which a document must not do"),
        (external_entity, "it declares XML entities, which a document must not do"),
        (far_cell, EXPENSIVE),
        (lambda: PROTECTED, "it is protected by a password"),
        (lambda: COMPOUND, "it has the format of an old version of Office; please save it as DOCX"),
        (lambda: broken(docx(paragraph("x"))), DAMAGED),
        (lambda: broken(xlsx({"A": [["x"]]})), DAMAGED),
        (lambda: broken(pptx(("x", "y"))), DAMAGED),
        (lambda: docx(""), "it contains no text"),
        (lambda: xlsx({"A": []}), "it contains no text"),
        (lambda: b"<html></html>", "it contains no text"),
    ],
)
async def test_a_document_that_cannot_be_read_ends_in_one_sentence_and_the_rest_is_read(
    redis: Redis, make: Callable[[], bytes], reason: str
) -> None:
    made = await read_files(redis, ("a.docx", make()), ("good.txt", b"fine"))
    [problem] = made.problems
    assert problem.startswith(f"I could not read a.docx: {reason}")
    assert "fine" in made.text
    assert "root:" not in made.text


async def test_a_page_as_deep_as_nobody_writes_ends_in_text_or_in_one_sentence(redis: Redis) -> None:
    made = await read_files(redis, ("deep.html", deep_page()), ("good.txt", b"fine"))
    assert len(made.problems) <= 1
    assert "fine" in made.text
