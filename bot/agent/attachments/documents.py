"""Parsers for untrusted DOCX, XLSX, PPTX and HTML, loaded by `child.py` in its sandbox: text as Markdown.

They follow no link to a file or an address, and macros are neither read nor run. This module imports nothing
of the bot.
"""

import contextlib
import importlib
import io
import pkgutil
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any
from xml.parsers import expat

MOST_PARTS = 10_000
MOST_UNPACKED = 200_000_000
MOST_PAGE = 2_000_000
"""Bytes of a web page that are converted, which takes up to 5 seconds."""

_PACKAGES = {
    "docx": ("mammoth", "xml.dom", "bs4", "markdownify"),
    "xlsx": ("python_calamine",),
    "pptx": ("pptx",),
    "html": ("bs4", "markdownify", "chardet"),
}
_DEPTH = 20_000
"""Depth of calls: the converters call themselves for each element in an element."""

_INVISIBLE = ("script", "style", "template", "noscript", "svg")
_BLANK_LINES = re.compile(r"\n{3,}")
_PROLOG = 64 << 10
_CHART_ERRORS = (ValueError, TypeError, AttributeError, LookupError, NotImplementedError)


class Unreadable(Exception):
    """Document that is not read; the text completes the sentence `I could not read …:`."""


class _FoundRoot(Exception):
    """First element of a part, after which no declaration can follow."""


def prepare(kind: str) -> None:
    """Import everything that the parser needs: after this no file can be opened."""
    importlib.import_module("datetime")  # calamine needs it for dates
    for package in map(importlib.import_module, ("encodings", *_PACKAGES[kind])):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            with contextlib.suppress(ImportError):  # of another system, or for an extra that is not installed
                importlib.import_module(module.name)
    if kind == "html":
        import chardet

        chardet.detect("Wärme".encode("latin-1"))  # loads its tables
    sys.setrecursionlimit(_DEPTH)


def parse(kind: str, content: bytes, most_chars: int) -> dict[str, Any]:
    """Return the text of a document, up to one character more than `most_chars`. Raises `Unreadable`."""
    has_macros = kind != "html" and _check_package(content)
    details: dict[str, Any] = {}
    pieces = {"docx": _docx, "xlsx": _xlsx, "pptx": _pptx, "html": _html}[kind](content, details)
    text = _first(pieces, most_chars)
    if not text:
        raise Unreadable("it contains no text")
    return {"text": text[: most_chars + 1], "macros": has_macros, **details}


def _first(pieces: Iterable[str], most_chars: int) -> str:
    """Return the text of the pieces, without those that begin after `most_chars`."""
    chosen: list[str] = []
    size = 0
    for piece in pieces:
        chosen.append(piece)
        size += len(piece) + 1
        if size > most_chars:
            break
    return "\n".join(chosen).strip()


def _check_package(content: bytes) -> bool:
    """Check an Office package before anything is unpacked; return True if it has macros.

    Raises `Unreadable`. A part has no document type (ECMA-376 part 2, 6.2.5), without which there are no
    entities.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        parts = package.infolist()
        if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED:
            raise Unreadable("it unpacks to more than I can open")
        if any(part.flag_bits & 1 for part in parts):
            raise Unreadable("it is protected by a password")
        for part in parts:
            if part.filename.endswith((".xml", ".rels")):
                with package.open(part) as source:
                    _check_prolog(source.read(_PROLOG))
    return any(part.filename.endswith("vbaProject.bin") for part in parts)


def _check_prolog(beginning: bytes) -> None:
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = _end_check
    with contextlib.suppress(_FoundRoot, expat.ExpatError):  # the parser of the format reports the faults
        parser.Parse(beginning)


def _refuse_doctype(*_: object) -> None:
    raise Unreadable("it declares XML entities, which a document must not do")


def _end_check(*_: object) -> None:
    raise _FoundRoot


def _docx(content: bytes, details: dict[str, Any]) -> Iterator[str]:
    """Yield the text with headings, lists, tables, links, notes and comments."""
    import mammoth

    page = mammoth.convert_to_html(
        io.BytesIO(content),
        style_map="comment-reference => sup",
        include_embedded_style_map=False,  # the document's own rules
        convert_image=mammoth.images.img_element(lambda image: {}),
        external_file_access=False,
    )
    yield _markdown(page.value)


def _html(content: bytes, details: dict[str, Any]) -> Iterator[str]:
    """Yield the text of a web page with headings, lists, tables and links."""
    yield _markdown(content[:MOST_PAGE])
    if len(content) > MOST_PAGE:
        yield "\n[The rest of the page is left out.]"


def _markdown(page: str | bytes) -> str:
    """Return the text of HTML without what is not shown. A picture becomes its description."""
    from bs4 import BeautifulSoup, Tag
    from markdownify import MarkdownConverter

    class Converter(MarkdownConverter):
        def convert_img(self, el: Tag, text: str, parent_tags: set[str]) -> str:
            return f"(picture: {el['alt']})" if el.get("alt") else ""

        def convert_a(self, el: Tag, text: str, parent_tags: set[str]) -> str:
            if not str(el.get("href", "")).startswith(("http:", "https:", "mailto:")):
                return text
            written: str = super().convert_a(el, text, parent_tags)  # type: ignore[misc]  # not in its types
            return written

    soup = BeautifulSoup(page, "lxml")
    for hidden in soup(_INVISIBLE):
        hidden.decompose()
    converter = Converter(
        heading_style="ATX",
        bullets="-",
        escape_asterisks=False,
        escape_underscores=False,
        table_infer_header=True,
    )
    return _BLANK_LINES.sub("\n\n", converter.convert_soup(soup)).strip()


def _xlsx(content: bytes, details: dict[str, Any]) -> Iterator[str]:
    """Yield each sheet as a table: values as stored, formulas as their last result."""
    from python_calamine import CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(content))
    except PasswordError as error:
        raise Unreadable("it is protected by a password") from error
    sheets = [each for each in workbook.sheets_metadata if each.typ == SheetTypeEnum.WorkSheet]
    details["sheets"] = len(sheets)
    for sheet in sheets:  # the others hold a chart alone
        rows = _table(_cells(row) for row in workbook.get_sheet_by_name(sheet.name).iter_rows())
        is_hidden = sheet.visible != SheetVisibleEnum.Visible
        title = f"\n## {_one_line(sheet.name)}{' (hidden)' if is_hidden else ''}\n"
        for first in rows:  # a sheet without values has no title
            yield title
            yield first
            yield from rows


def _cells(row: Iterable[Any]) -> list[str]:
    cells = [_cell(value) for value in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return f"{value:.15g}"  # digits that Excel stores
    return _one_line(str(value))


def _table(rows: Iterable[list[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, without empty rows."""
    is_first = True
    for row in rows:
        if row:
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
            if is_first:
                yield f"|{'---|' * len(row)}"
            is_first = False


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _pptx(content: bytes, details: dict[str, Any]) -> Iterator[str]:
    """Yield the text of each slide in its order, with tables, the data of charts, and notes."""
    import pptx

    slides = pptx.Presentation(io.BytesIO(content)).slides
    details["slides"] = len(slides)
    for number, slide in enumerate(slides, 1):
        yield f"\n## Slide {number}\n"
        for shape in slide.shapes:
            yield from _shape(shape)
        if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) and notes.text.strip():
            yield f"\nNotes: {notes.text.strip()}"


def _shape(shape: Any) -> Iterator[str]:
    if hasattr(shape, "shapes"):  # a group
        for each in shape.shapes:
            yield from _shape(each)
    elif getattr(shape, "has_table", False):
        yield ""
        yield from _table([_one_line(cell.text) for cell in row.cells] for row in shape.table.rows)
    elif getattr(shape, "has_chart", False):
        with contextlib.suppress(*_CHART_ERRORS):  # a kind that python-pptx does not know
            yield from ("", *_chart(shape.chart))
    elif shape.has_text_frame:
        for paragraph in shape.text_frame.paragraphs:
            if text := _one_line(paragraph.text):
                yield f"{'  ' * paragraph.level}- {text}" if paragraph.level else text


def _chart(chart: Any) -> list[str]:
    """Return the data of a chart as a table: a row for each series."""
    lines: list[str] = []
    for plot in chart.plots:
        rows = [["", *(_cell(str(each)) for each in plot.categories)]]
        rows += [
            [_one_line(str(each.name)), *(_cell(value) for value in each.values)] for each in plot.series
        ]
        lines += _table(rows)
    return lines
