"""Office documents as users send them. DOCX is written by hand, because no package here writes it."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import xlsxwriter
from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

_MAIN = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
_PICTURE = "http://schemas.openxmlformats.org/drawingml/2006/picture"
_DOCUMENT_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"


def archive(parts: Mapping[str, str | bytes]) -> bytes:
    """Return a ZIP archive."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in parts.items():
            package.writestr(name, content)
    return written.getvalue()


def paragraph(text: str, style: str = "") -> str:
    """Return a paragraph of a DOCX."""
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"


def docx(
    body: str, *, prolog: str = "", relations: str = "", more: Mapping[str, str | bytes] | None = None
) -> bytes:
    """Return a DOCX with this body; `more` are further parts."""
    part = f'<Override PartName="/word/document.xml" ContentType="{_DOCUMENT_TYPE}"/>'
    main = f'<Relationship Id="main" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/>'
    styles = f'<Relationship Id="styles" Type="{_OFFICE}/styles" Target="styles.xml"/>'
    spaces = f'xmlns:w="{_MAIN}" xmlns:r="{_OFFICE}" xmlns:a="{_DRAWING}" xmlns:pic="{_PICTURE}"'
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": f'<Types xmlns="{_TYPES}">{part}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}">{main}</Relationships>',
        "word/_rels/document.xml.rels": f'<Relationships xmlns="{_RELATIONS}">{styles}{relations}'
        "</Relationships>",
        "word/styles.xml": f'<w:styles xmlns:w="{_MAIN}"><w:style w:type="paragraph" w:styleId="Heading1">'
        '<w:name w:val="heading 1"/></w:style></w:styles>',
        "word/document.xml": f"{prolog}<w:document {spaces}><w:body>{body}</w:body></w:document>",
    }
    return archive(parts | dict(more or {}))


def xlsx(sheets: Mapping[str, Sequence[Sequence[Any]]], hidden: Sequence[str] = ()) -> bytes:
    """Return an XLSX with these sheets and one that holds a chart alone; `=…` is a formula."""
    written = io.BytesIO()
    with xlsxwriter.Workbook(written, {"in_memory": True}) as workbook:
        day = workbook.add_format({"num_format": "yyyy-mm-dd"})
        for name, rows in sheets.items():
            sheet = workbook.add_worksheet(name)
            for number, row in enumerate(rows):
                for column, value in enumerate(row):
                    is_day = hasattr(value, "year")
                    sheet.write(number, column, value, *([day] if is_day else []))
            if name in hidden:
                sheet.hide()
        chart = workbook.add_chart({"type": "bar"})
        chart.add_series({"values": f"='{next(iter(sheets))}'!$A$1"})
        workbook.add_chartsheet("A chart alone").set_chart(chart)
    return written.getvalue()


def pptx(*slides: tuple[str, str], notes: str = "", table: Sequence[Sequence[str]] = ()) -> bytes:
    """Return a PPTX with a title and a text on each slide; notes, a table and a chart on the last one."""
    deck = Presentation()
    for title, text in slides:
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes[0].text_frame.text = title
        slide.shapes[1].text_frame.text = text
    if notes:
        slide.notes_slide.notes_text_frame.text = notes
    if table:
        place = (Inches(1), Inches(1), Inches(4), Inches(2))
        grid = slide.shapes.add_table(len(table), len(table[0]), *place).table
        for number, row in enumerate(table):
            for column, value in enumerate(row):
                grid.cell(number, column).text = value
        data = CategoryChartData()  # type: ignore[no-untyped-call]  # half of it has no types
        data.categories = ["Q1", "Q2"]
        data.add_series("Revenue", (10.5, 20))  # type: ignore[no-untyped-call]
        slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *place, data)
    written = io.BytesIO()
    deck.save(written)
    return written.getvalue()
