"""Picture of the contest as SVG: each figure's ratio to the peer, on a logarithmic scale."""

import math
from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.figures import FIGURES, Figure, Round, Spread, number, spread

WIDTH, LEFT, RIGHT, TOP, HEIGHT_OF_ROW = 860, 330, 90, 64, 30
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.small { font-size: 11px; fill: #57606a; }
.grid { stroke: #d0d7de; }
.peer { stroke: #24292f; stroke-width: 1.5; }
.goal { stroke: #1a7f37; stroke-width: 3; }
.product { fill: #0969da; stroke: #0969da; stroke-width: 3; }
.floor { fill: none; stroke: #57606a; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .small { fill: #9198a1; }
  .grid { stroke: #3d444d; }
  .peer { stroke: #e6edf3; }
  .goal { stroke: #3fb950; }
  .product { fill: #4493f8; stroke: #4493f8; }
  .floor { stroke: #9198a1; }
}
"""


def picture(rounds: Sequence[Round]) -> str:
    """Return the picture of all figures that have a ratio to the peer as their goal."""
    rows = [
        (figure, product, spread(rounds, figure, "floor", "peer"))
        for figure in FIGURES
        if figure.ratio_goal and (product := spread(rounds, figure, "product", "peer"))
    ]
    height = TOP + HEIGHT_OF_ROW * len(rows) + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>Ratios of the product and the floor to the peer</title>",
        f"<style>{STYLE}</style>",
        *_legend(),
    ]
    spreads = [each for _, product, floor in rows for each in (product, floor) if each]
    ends = [end for each in spreads for end in (each.least, each.most)]
    scale = Scale([*ends, *(figure.ratio_goal or 1 for figure, _, _ in rows)])
    lines += scale.grid(height - 30)
    for index, (figure, product, floor) in enumerate(rows):
        lines += _row(TOP + HEIGHT_OF_ROW * (index + 0.5), scale, figure, product, floor)
    return "\n".join([*lines, "</svg>\n"])


class Scale:
    """Logarithmic axis that includes all ratios, and 1."""

    def __init__(self, ratios: Sequence[float]) -> None:
        self._low = min([0.5, *ratios]) / 1.2
        self._high = max([2.0, *ratios]) * 1.2

    def x(self, ratio: float) -> float:
        share = math.log(ratio / self._low) / math.log(self._high / self._low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def grid(self, bottom: float) -> Iterator[str]:
        """Yield a line for each 1, 2 and 5 of a decade; that of 1 is the peer."""
        for power in range(math.floor(math.log10(self._low)), math.ceil(math.log10(self._high))):
            for tick in (10.0**power, 2 * 10.0**power, 5 * 10.0**power):
                if self._low <= tick <= self._high:
                    x, kind = self.x(tick), "peer" if tick == 1 else "grid"
                    yield f'<line class="{kind}" x1="{x}" y1="{TOP - 6}" x2="{x}" y2="{bottom}"/>'
                    yield _text(x, bottom + 18, f"{tick:g}", "small", "middle")


def _legend() -> Iterator[str]:
    yield _text(10, 24, "Ratio to the peer (Chat SDK on Node): 1 is equal")
    yield _dot("product", LEFT + 16, 19, 5) + _text(LEFT + 28, 24, "product, with its range")
    yield _dot("floor", LEFT + 196, 19, 5) + _text(LEFT + 208, 24, "floor")
    yield _goal(LEFT + 272, 19) + _text(LEFT + 284, 24, "goal")


def _row(y: float, scale: Scale, figure: Figure, product: Spread, floor: Spread | None) -> Iterator[str]:
    direction = " (more is better)" if figure.is_more_better else ""
    yield _text(LEFT - 14, y + 4, figure.name + direction, anchor="end")
    if figure.ratio_goal:
        yield _goal(scale.x(figure.ratio_goal), y)
    if floor:
        yield _dot("floor", scale.x(floor.middle), y, 5)
    least, most = scale.x(product.least), scale.x(product.most)
    yield f'<line class="product" x1="{least}" y1="{y}" x2="{most}" y2="{y}"/>'
    yield _dot("product", scale.x(product.middle), y, 5)
    yield _text(WIDTH - RIGHT + 20, y + 4, f"{number(product.middle)} x")


def _dot(kind: str, x: float, y: float, radius: float) -> str:
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius}"/>'


def _goal(x: float, y: float) -> str:
    return f'<line class="goal" x1="{x}" y1="{y - 9}" x2="{x}" y2="{y + 9}"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "") -> str:
    shape = f' class="{kind}"' if kind else ""
    shape += f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x}" y="{y}"{shape}>{escape(text)}</text>'
