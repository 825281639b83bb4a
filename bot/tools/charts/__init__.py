"""Charts: pictures of the rows of a query."""

from bot.tools.charts.chart import draw
from bot.tools.charts.plot import Kind

__all__ = ["Kind", "draw"]
