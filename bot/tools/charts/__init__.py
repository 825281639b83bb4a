"""From the rows of a query to a picture of them."""

from bot.tools.charts.chart import draw
from bot.tools.charts.plot import Kind

__all__ = ["Kind", "draw"]
