"""Tools that show rows, and create files: names, arguments and descriptions for the model."""

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field

from bot.chat import BotError, Json, Keep
from bot.concurrency.process_pool import Compute
from bot.tools.artifacts import TableSize, artifact_of
from bot.tools.charts.chart import draw
from bot.tools.charts.plot import Kind
from bot.tools.errors import ToolFailure
from bot.tools.export import export as export_rows
from bot.tools.row_file import Format
from bot.tools.sql.database import Database
from bot.tools.table import show_rows

_CHART = """\
Draw a chart from the rows of a read-only query in the business database and show it to the users. Use it \
when they ask for a chart, or when a trend or a comparison of many numbers is easier to see than to read. \
Let the database group and sum: return one row for each value of x (and for each series), at most 5,000. The \
users see the picture next to your answer: do not link to it, and do not repeat its numbers one by one."""

_TABLE = """\
Show the users the rows of a read-only query in the business database as a table they can sort. Use it when \
they ask for rows, a list or a table of more than a few values: the first 100 rows are shown, the rest comes \
as a CSV file. Do not repeat its rows."""

_EXPORT = """\
Give the users all rows of a read-only query in the business database as a CSV file or an Excel workbook, at \
most 100,000. Use it when they ask for a file, a list, a spreadsheet, or more rows than fit into an answer."""


class ChartArguments(BaseModel):
    """Arguments of `chart`."""

    query: str = Field(
        description="One PostgreSQL SELECT; units in column names are shown: revenue_eur, share_pct"
    )
    kind: Kind = Field(
        description="line: change over time; bar: comparison; stacked: parts of a whole, over x; "
        "pie: parts of one whole, few; scatter: two numbers; histogram: distribution of the numbers of x"
    )
    x: str = Field(
        "",
        description="The result column for the horizontal axis, with dates, numbers or names; default: the "
        "first column",
    )
    y: str = Field(
        "",
        description="The column with numbers, or several, separated by commas; with one, a further column "
        "of names in the result makes each name a series. Default: all other columns with numbers",
    )
    title: str = Field("", description="A short title that describes the chart")


class TableArguments(BaseModel):
    """Arguments of `table`."""

    query: str = Field(description="One PostgreSQL SELECT")
    title: str = Field("", description="A short title that describes the rows")


class ExportArguments(BaseModel):
    """Arguments of `export`."""

    query: str = Field(description="One PostgreSQL SELECT")
    format: Format = Field("csv", description="csv, or xlsx for Excel")


def file_tools(database: Database, keep: Keep, compute: Compute) -> list[BaseTool]:
    """Return the tools `table`, `chart` and `export`, which raise `ToolFailure`; `keep` stores the files
    and `compute` makes them."""

    async def table(query: str, title: str = "") -> tuple[str, Json]:
        try:
            shown = await show_rows(database, keep, compute, query, title)
        except BotError as error:
            raise ToolFailure(_NOT_KEPT) from error
        size = TableSize(shown.table.total, shown.table.total_columns, shown.table.has_more)
        return shown.words, artifact_of([shown.table], size)

    async def chart(query: str, kind: Kind, x: str = "", y: str = "", title: str = "") -> tuple[str, Json]:
        try:
            drawn = await draw(database, keep, compute, query, kind, x, y, title)
        except BotError as error:
            raise ToolFailure(_NOT_KEPT) from error
        return drawn.words, artifact_of([drawn.file], TableSize(drawn.rows))

    async def export(query: str, format: Format = "csv") -> tuple[str, Json]:
        try:
            exported = await export_rows(database, keep, compute, query, format=format)
        except BotError as error:
            raise ToolFailure(_NOT_KEPT) from error
        return exported.words, artifact_of([exported.file], TableSize(exported.rows))

    return [
        StructuredTool.from_function(
            coroutine=table,
            name="table",
            description=_TABLE,
            args_schema=TableArguments,
            metadata={"title": "Show a table", "activity": "Making a table"},
            response_format="content_and_artifact",
        ),
        StructuredTool.from_function(
            coroutine=chart,
            name="chart",
            description=_CHART,
            args_schema=ChartArguments,
            metadata={"title": "Draw a chart", "activity": "Drawing a chart"},
            response_format="content_and_artifact",
        ),
        StructuredTool.from_function(
            coroutine=export,
            name="export",
            description=_EXPORT,
            args_schema=ExportArguments,
            metadata={"title": "Export rows", "activity": "Exporting rows"},
            response_format="content_and_artifact",
        ),
    ]


_NOT_KEPT = "The file could not be stored, so it cannot be shown.\nSay so, and continue without it."
