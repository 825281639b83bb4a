"""Figures of the contest: medians and ranges over the rounds, ratios within each round, and their table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """Row of the table; goals are bounds of the product's ratio to the peer, or of its own value."""

    name: str
    unit: str = ""
    ratio_goal: float | None = None
    own_goal: float | None = None
    is_more_better: bool = False

    @property
    def title(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def goal(self) -> str:
        """Return the goal in words."""
        bound = "at least" if self.is_more_better else "at most"
        if self.ratio_goal is not None:
            return f"{bound} {self.ratio_goal:.1f} of the peer's"
        return f"{bound} {self.own_goal:g}" if self.own_goal is not None else ""


CPU_NEW = Figure("CPU per turn, new threads", "ms", ratio_goal=1.0)
CPU_FIVE = Figure("CPU per turn, threads of five turns", "ms", ratio_goal=1.0)
RATE = Figure("turns per second, one process", ratio_goal=1.0, is_more_better=True)
FIRST_NEW = Figure("first text, idle, new thread", "ms", ratio_goal=1.2)
FIRST_KNOWN = Figure("first text, idle, known thread", "ms", ratio_goal=1.2)
REDIS_NEW = Figure("CPU of Redis per turn, new threads", "ms", ratio_goal=5.0)
REDIS_FIVE = Figure("CPU of Redis per turn, threads of five turns", "ms")
COMMANDS_NEW = Figure("Redis commands per turn, new threads")
COMMANDS_FIVE = Figure("Redis commands per turn, threads of five turns", own_goal=40)
SLACK_CALLS = Figure("Slack calls per turn")
RSS_START = Figure("RSS at rest", "MiB")
RSS_AFTER = Figure("RSS after 300 turns", "MiB", ratio_goal=1.2)
LAG = Figure("p99 lag of the event loop", "ms", own_goal=20)
START = Figure("start to connected", "s")
UNANSWERED = Figure("messages without an answer", own_goal=0)
SCALE_RATE = Figure("two processes to one, turns per second", own_goal=1.8, is_more_better=True)
SCALE_CPU = Figure("two processes to one, by their CPU", own_goal=1.8, is_more_better=True)
"""Rate that they would have with cores of their own: the servers and Redis need cores, too."""
SCALE_COMMANDS = Figure("two processes to one, Redis commands per turn", own_goal=1.1)
MACHINE = Figure("use of the whole machine at rest", "%")
"""For the conditions, not for the table."""

FIGURES = (
    *(CPU_NEW, CPU_FIVE, RATE, FIRST_NEW, FIRST_KNOWN, REDIS_NEW, REDIS_FIVE, COMMANDS_NEW, COMMANDS_FIVE),
    *(SLACK_CALLS, RSS_START, RSS_AFTER, LAG, START, UNANSWERED, SCALE_RATE, SCALE_CPU, SCALE_COMMANDS),
)

Measured = Mapping[Figure, float]
Round = Mapping[str, Measured]
"""Figures of each contestant that took part, by its name."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range over the rounds."""

    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{number(self.middle)} ({number(self.least)} to {number(self.most)})"


def number(value: float) -> str:
    """Return three digits that matter, without an exponent."""
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{digits}f}"


def spread(rounds: Sequence[Round], figure: Figure, name: str, divisor: str | None = None) -> Spread | None:
    """Return a contestant's figure, or its ratios to that of another in the same round; None without any."""
    pairs = [(each.get(name, {}).get(figure), each.get(divisor or "", {}).get(figure)) for each in rounds]
    if divisor is None:
        values = [value for value, _ in pairs if value is not None]
    else:
        values = [value / other for value, other in pairs if value and other]
    return Spread(median(values), min(values), max(values)) if values else None


NAMES = ("product", "peer", "floor")


def table(rounds: Sequence[Round], absent: Mapping[str, str]) -> str:
    """Return the Markdown table; the cells of a contestant that is absent say why."""
    head = ["", *NAMES, "product / peer", "floor / peer", "goal"]
    lines = [head, ["---"] * len(head)]
    for figure in FIGURES:
        own = [_cell(spread(rounds, figure, name), absent.get(name, "-"), is_short=True) for name in NAMES]
        ratios = [_cell(spread(rounds, figure, name, "peer"), "-") for name in ("product", "floor")]
        lines.append([figure.title, *own, *ratios, figure.goal])
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


def _cell(found: Spread | None, otherwise: str, *, is_short: bool = False) -> str:
    if found is None:
        return otherwise
    return number(found.middle) if is_short else str(found)
