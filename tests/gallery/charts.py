"""Drawing of a chart as Slack draws it from its numbers."""

from collections.abc import Iterator
from html import escape
from typing import Any

Json = Any
_COLOURS = ("#1264a3", "#e8912d", "#2eb67d", "#7a5af5", "#e01e5a", "#888")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 560, 240, 56, 40


def draw_chart(block: Json) -> str:
    """Return a bar or line chart as SVG, with its title; a pie as a list of its segments."""
    chart, title = block["chart"], escape(block["title"])
    if chart["type"] == "pie":
        drawn = "".join(f"<li>{escape(each['label'])}: {each['value']:g}</li>" for each in chart["segments"])
        return f"<div class=title>{title}</div><ul>{drawn}</ul>"
    shapes = "".join(_axes(chart)) + "".join(_shapes(chart))
    size = f'width="{_WIDTH}" height="{_HEIGHT}"'
    style = 'style="font: 11px sans-serif; border: 1px solid #ddd; border-radius: 8px"'
    return f"<div class=title>{title}</div><svg {size} {style}>{shapes}</svg>"


def _highest(chart: Json) -> float:
    return max((point["value"] or 0 for each in chart["series"] for point in each["data"]), default=1) or 1


def _axes(chart: Json) -> Iterator[str]:
    names = chart["axis_config"]["categories"]
    step = (_WIDTH - _LEFT - 16) / len(names)
    for number, name in enumerate(names):
        x = _LEFT + step * (number + 0.5)
        yield f'<text x="{x:.0f}" y="{_HEIGHT - 22}" text-anchor="middle">{escape(name)}</text>'
    for share in (0, 0.5, 1):
        y = _y(share)
        yield f'<line x1="{_LEFT}" x2="{_WIDTH - 16}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{_highest(chart) * share:,.0f}</text>'
    middle = (_WIDTH + _LEFT) / 2
    label = escape(chart["axis_config"].get("x_label", ""))
    yield f'<text x="{middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle" fill="#666">{label}</text>'


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - 20)


def _shapes(chart: Json) -> Iterator[str]:
    highest, count = _highest(chart), len(chart["series"])
    step = (_WIDTH - _LEFT - 16) / len(chart["axis_config"]["categories"])
    for index, series in enumerate(chart["series"]):
        colour, points = _COLOURS[index], []
        for number, point in enumerate(series["data"]):
            y = _y((point["value"] or 0) / highest)
            x = _LEFT + step * (number + 0.2 + 0.6 * index / count)
            points.append(f"{_LEFT + step * (number + 0.5):.0f},{y:.0f}")
            if chart["type"] == "bar":
                width = step * 0.6 / count
                height = _HEIGHT - _BOTTOM - y
                size = f'width="{width:.0f}" height="{height:.0f}" fill="{colour}"'
                yield f'<rect x="{x:.0f}" y="{y:.0f}" {size}/>'
        if chart["type"] != "bar":
            yield f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>'
