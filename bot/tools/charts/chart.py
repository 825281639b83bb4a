"""Work of the tool `chart`: runs a query, has its rows drawn, stores the picture."""

import asyncio
import logging
import pickle
import re
from dataclasses import dataclass, replace

from bot.chat import Chart, File, Keep
from bot.chat.text import one_line
from bot.concurrency.process_pool import Compute, ComputeError
from bot.tools.artifacts import file_name
from bot.tools.charts.drawing import draw_rows
from bot.tools.charts.plot import Kind
from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, QueryLimits
from bot.tools.sql.format import Result

log = logging.getLogger(__name__)

LIMITS = QueryLimits(rows=5_000, chars=1_000_000, seconds=30)

_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)

_ROWS_AT_ONCE = 200
"""Rows of one pickle: more would hold the interpreter lock for longer than 1 ms."""

_NOT_DRAWN = (
    "Drawing these rows failed, or took too much time or memory.\nLet the database group them, and try again."
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Drawn chart: the file, the text for the model, and the number of rows."""

    file: File
    words: str
    rows: int


async def draw(
    database: Database, keep: Keep, compute: Compute, query: str, kind: Kind, x: str, y: str, title: str
) -> Drawn:
    """Run the query, draw its rows, store the picture. Raises `ToolFailure` with advice."""
    result = await database.fetch(query, LIMITS)
    if not result.is_complete:
        raise ToolFailure(
            f"The query gives more than {LIMITS.rows:,} rows, too many to draw.\n"
            "Let the database group them (for example by day or month), or take a sample with "
            "ORDER BY random() LIMIT 2000."
        )
    is_ordered = bool(_ORDER.search(query))
    batches = await asyncio.to_thread(_batches, result)
    try:
        told, png = await compute.run(
            draw_rows, result.columns, batches, kind, x, y, one_line(title), is_ordered=is_ordered
        )
    except ComputeError as error:
        raise ToolFailure(_NOT_DRAWN) from error
    if problem := told.get("problem"):
        log.info("chart not drawn", extra={"reason": problem, "cause": told.get("cause")})
        raise ToolFailure(str(problem))
    shown, about = str(told["title"]), str(told["about"])
    alt = ". ".join([each for each in (shown, about) if each])
    file = await keep(file_name(shown or kind, png, "png"), "image/png", png, alt)
    values = told.get("chart")
    shown_file = replace(file, chart=Chart.from_json(values)) if values else file
    return Drawn(shown_file, str(told["words"]), len(result.rows))


def _batches(result: Result) -> list[bytes]:
    rows = result.rows
    return [pickle.dumps(rows[at : at + _ROWS_AT_ONCE]) for at in range(0, len(rows), _ROWS_AT_ONCE)]
