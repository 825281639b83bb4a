"""The tools that make files, as the model sees them."""

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field

from bot.chat import BotError, Json, Keep
from bot.tools.artifacts import artifact_of
from bot.tools.charts import Kind, draw
from bot.tools.errors import ToolFailure
from bot.tools.export import export as export_rows
from bot.tools.sql.database import Database

_CHART = """\
Draw a chart from the rows of a read-only query in the business database and show it to the people. Use it \
when they ask for a chart, or when a trend or a comparison of many numbers is easier seen than read. Let the \
database group and sum: one row for each place on x (and for each series), 5,000 at most. They see the \
picture beside your answer: link none, and do not repeat its numbers one by one."""

_EXPORT = """\
Give the people all rows of a read-only query in the business database as a CSV file, up to 100,000. Use it \
when they ask for a file, a list, a spreadsheet, or for more rows than an answer should hold."""


class ChartArguments(BaseModel):
    """Arguments of `chart`."""

    query: str = Field(
        description="One PostgreSQL SELECT; columns named after their unit show it: revenue_eur, share_pct"
    )
    kind: Kind = Field(
        description="line: over time; bar: compare; stacked: parts of a whole; scatter: two numbers; "
        "histogram: how the numbers of x are spread"
    )
    x: str = Field(
        "",
        description="The column of the result along the horizontal axis, of dates, numbers or names; the "
        "first if absent",
    )
    y: str = Field(
        "",
        description="The column of numbers, or several separated by commas; with one, a further column of "
        "names in the result makes a series of each name. All other numbers if absent",
    )
    title: str = Field("", description="A short title that says what is shown")


class ExportArguments(BaseModel):
    """Arguments of `export`."""

    query: str = Field(description="One PostgreSQL SELECT")


def file_tools(database: Database, keep: Keep) -> list[BaseTool]:
    """`chart` and `export`, over the database; `keep` takes the files. They raise `ToolFailure`."""

    async def chart(query: str, kind: Kind, x: str = "", y: str = "", title: str = "") -> tuple[str, Json]:
        try:
            drawn = await draw(database, keep, query, kind, x, y, title)
        except BotError as error:
            raise ToolFailure(_NOT_KEPT) from error
        return drawn.words, artifact_of([drawn.file])

    async def export(query: str) -> tuple[str, Json]:
        try:
            exported = await export_rows(database, keep, query)
        except BotError as error:
            raise ToolFailure(_NOT_KEPT) from error
        return exported.words, artifact_of([exported.file])

    return [
        StructuredTool.from_function(
            coroutine=chart,
            name="chart",
            description=_CHART,
            args_schema=ChartArguments,
            response_format="content_and_artifact",
        ),
        StructuredTool.from_function(
            coroutine=export,
            name="export",
            description=_EXPORT,
            args_schema=ExportArguments,
            response_format="content_and_artifact",
        ),
    ]


_NOT_KEPT = "The file could not be stored, so it cannot be shown.\nSay so, and go on without it."
