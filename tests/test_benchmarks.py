"""Contest of `./dev bench`: its arithmetic, table and picture, and one run of the product with few turns."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import figures
from benchmarks.contest import BEGIN, END, PAGE, replace_block
from benchmarks.contestants import PEER, PRODUCT, Absent, find_peer
from benchmarks.event_loop import p99_lag
from benchmarks.figures import FIGURES, Round, Spread, number, spread, table
from benchmarks.idle_threads import IDLE_SECONDS, Key
from benchmarks.picture import HEIGHT_OF_ROW, WIDTH, Scale, picture
from benchmarks.servers import ANSWER, TOKENS, Load, wire
from benchmarks.stage import PLAN, Plan, Reading, open_stage, play_alone, play_as_pair

CPU, RATE = figures.CPU_NEW, figures.RATE


def a_round(product: float, peer: float, floor: float) -> Round:
    """Return a round in which each contestant has one value for all figures."""
    values = {"product": product, "peer": peer, "floor": floor}
    return {name: dict.fromkeys(FIGURES, value) for name, value in values.items()}


ROUNDS = [a_round(10, 5, 1), a_round(20, 20, 5), a_round(60, 20, 10)]


def rows_of(markdown: str) -> list[list[str]]:
    """Return the cells of a Markdown table."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# --- arithmetic


def test_a_ratio_is_between_runs_of_one_round() -> None:
    """The quotient of the medians, 20 / 20, would compare different moments of a machine."""
    assert spread(ROUNDS, CPU, "product", "peer") == Spread(middle=2, least=1, most=3)
    assert spread(ROUNDS, CPU, "product") == Spread(middle=20, least=10, most=60)


def test_there_is_no_ratio_without_both_values() -> None:
    """A contestant that is absent, a figure that it does not have, and a zero."""
    assert spread(ROUNDS, CPU, "product", "nobody") is None
    assert spread([{"product": {CPU: 1.0}, "peer": {}}], CPU, "product", "peer") is None
    assert spread([a_round(1, 0, 0)], CPU, "product", "peer") is None
    assert spread([a_round(1, 2, 0)], CPU, "floor", "peer") is None


@pytest.mark.parametrize(
    ("value", "text"), [(0.2, "0.20"), (9.99, "9.99"), (9.996, "10.0"), (99.4, "99.4"), (1234.5, "1234")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_what_redis_does_at_rest_is_no_part_of_a_turn() -> None:
    """In proportion to the time; a rest that was busier than the load gives zero, not less."""
    rest = Reading(at=2, cpu=0, redis_cpu=0.2, commands=8)
    load = Reading(at=110, cpu=6, redis_cpu=5, commands=1040).since(Reading(100, 1, 1, 0))
    assert load.without(rest) == Reading(at=10, cpu=5, redis_cpu=3, commands=1000)
    assert Reading(10, 5, 0.1, 3).without(rest) == Reading(10, 5, 0, 0)


def test_the_lag_is_that_of_the_load(tmp_path: Path) -> None:
    """Before it, the program imports for seconds."""
    path = tmp_path / "lag"
    assert p99_lag(path, 0, 10) is None
    path.write_text("1.0 5.0\n" + "".join(f"{2 + each / 100} 0.001\n" for each in range(100)) + "9.0 3.0\n")
    lag = p99_lag(path, 2, 4)
    assert lag == pytest.approx(0.001)


def test_the_model_sends_a_token_a_chunk() -> None:
    events = [json.loads(chunk[6:]) for chunk in wire(ANSWER).chunks if b"[DONE]" not in chunk]
    texts = [choice["delta"].get("content", "") for event in events for choice in event["choices"]]
    assert "".join(texts) == ANSWER
    assert sum(map(bool, texts)) == TOKENS


def test_memory_is_measured_after_as_many_turns_as_the_table_says() -> None:
    turns = re.search(r"\d+", figures.RSS_AFTER.name)
    assert turns
    assert PLAN.warm_up.total + PLAN.new.total == int(turns[0])
    assert PLAN.five.turns == 5


# --- table and page


def test_the_table_has_a_row_for_each_figure_with_its_goal() -> None:
    head, _, *rows = rows_of(table(ROUNDS, {}))
    assert head == ["", "product", "peer", "floor", "product / peer", "floor / peer", "goal"]
    assert [row[0] for row in rows] == [figure.title for figure in FIGURES]
    cells = {row[0]: row[1:] for row in rows}
    ratios = ["2.00 (1.00 to 3.00)", "0.25 (0.20 to 0.50)"]
    assert cells[CPU.title] == ["20.0", "20.0", "5.00", *ratios, "at most 1.0 of the peer's"]
    assert cells[RATE.title][-1] == "at least 1.0 of the peer's"
    assert cells[figures.COMMANDS_FIVE.title][-1] == "at most 40"


def test_the_table_says_why_the_peer_is_absent() -> None:
    rounds = [{name: found for name, found in each.items() if name != "peer"} for each in ROUNDS]
    rows = rows_of(table(rounds, {"peer": "no Node"}))[2:]
    assert {tuple(row[2:3] + row[4:6]) for row in rows} == {("no Node", "-", "-")}


async def test_without_node_there_is_no_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Absent, match=r"^no Node$"):
        await find_peer()


def test_the_packages_of_the_peer_have_exact_versions_and_no_lock() -> None:
    """A lock of npm names the registry of whoever wrote it."""
    packages = json.loads((PEER / "package.json").read_text())["dependencies"]
    assert [name for name, at in packages.items() if not re.fullmatch(r"\d+\.\d+\.\d+", at)] == []
    assert sorted(path.name for path in PEER.iterdir()) == ["package.json", "peer.mjs"]


def test_a_block_replaces_the_one_before_and_nothing_else() -> None:
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\nrest\n"
    once = replace_block(page, "new")
    assert once == f"# Title\n\n{BEGIN}\nnew\n{END}\n\nrest\n"
    assert replace_block(once, "new") == once
    with pytest.raises(ValueError, match="no <!-- bench"):
        replace_block("# Title", "new")


def test_the_page_has_a_table_between_the_marks() -> None:
    """Each row as long as its head, as the last run left it."""
    _, _, rest = PAGE.read_text().partition(BEGIN)
    block, end, _ = rest.partition(END)
    assert end
    rows = rows_of(block)
    assert len(rows) > 5
    assert len({len(row) for row in rows}) == 1


# --- picture


def elements(rounds: list[Round]) -> list[ElementTree.Element]:
    """Return the elements of a picture, which must be well-formed."""
    return list(ElementTree.fromstring(picture(rounds)).iter())


def test_the_picture_shows_each_goal_that_is_a_ratio() -> None:
    found = elements(ROUNDS)
    texts = " ".join(each.text or "" for each in found)
    compared = [figure for figure in FIGURES if figure.ratio_goal]
    assert len(compared) > 5
    assert [figure.name for figure in compared if figure.name not in texts] == []
    points = [each for each in found if each.tag.endswith("circle") and each.get("class") == "product"]
    assert len(points) == len(compared) + 1  # with the legend's
    assert texts.count("more is better") == 1


@pytest.mark.parametrize("rounds", [ROUNDS, [a_round(900, 1, 0)], [a_round(0.01, 5, 3)], [a_round(1, 1, 1)]])
def test_everything_is_within_the_picture(rounds: list[Round]) -> None:
    """Whatever the ratios are; a floor without a value has no point."""
    svg, *inner = elements(rounds)
    _, _, width, height = map(float, (svg.get("viewBox") or "").split())
    assert width == WIDTH
    assert height > HEIGHT_OF_ROW * 5
    for each in inner:
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(each.get(name, 0)) <= width
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= float(each.get(name, 0)) <= height


def test_the_picture_can_be_read_on_a_dark_page() -> None:
    style = next(each.text or "" for each in elements(ROUNDS) if each.tag.endswith("style"))
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    kinds = set(re.findall(r"^([.\w]+) {", light, re.MULTILINE))
    assert kinds == set(re.findall(r"^  ([.\w]+) {", dark, re.MULTILINE))


def test_the_axis_is_logarithmic() -> None:
    scale = Scale([0.1, 10])
    assert scale.x(1) - scale.x(0.1) == pytest.approx(scale.x(10) - scale.x(1), abs=0.2)


# --- idle threads


def test_a_copy_of_a_thread_has_its_own_names_and_is_idle() -> None:
    """A key that many threads share gets its member only, with the time of a day before."""
    old, new = b"C0BENCH000001", b"C0IDLE0000007"
    mailbox = Key(b"{bot}:joined:slack:t1:c0bench000001:1", "string", b"slack:T1:C0BENCH000001:1", 5)
    assert mailbox.copy(old, new) == Key(
        b"{bot}:joined:slack:t1:c0idle0000007:1", "string", b"slack:T1:C0IDLE0000007:1", 5
    )
    known = Key(
        b"{bot}:threads:slack", "zset", [(b'{"channel": "C0BENCH000001"}', 1e9), (b"another", 2e9)], -1
    )
    assert known.copy(old, new).content == {b'{"channel": "C0IDLE0000007"}': 1e9 - IDLE_SECONDS}


# --- a run


async def test_the_product_plays_and_all_its_figures_are_measured(database_url: str) -> None:
    """A few turns of the whole bot in its own process; no value is compared with a limit."""
    plan = Plan(
        warm_up=Load(threads=1, tail=0),
        new=Load(threads=4, at_once=2, tail=0.2),
        five=Load(threads=1, turns=3, tail=0.2),
        idle=Load(threads=1, turns=2, tail=0),
        pair_warm_up=Load(threads=1, tail=0, sockets=2),
        pair=Load(threads=2, tail=0.2, sockets=2),
        rest_seconds=1,
    )
    async with open_stage(PRODUCT) as (stage, environ):
        environ["DATABASE_URL"] = database_url
        async with stage.process(environ) as seconds:
            found = await play_alone(stage, plan)
            async with stage.process(environ):
                found |= await play_as_pair(stage, plan, found)
    assert seconds > 0
    assert found.keys() >= set(FIGURES) - {figures.START, figures.LAG}
    assert found[figures.UNANSWERED] == 0
    measured = found.keys() & set(FIGURES) - {figures.UNANSWERED}
    assert [figure.name for figure in measured if found[figure] <= 0] == []
    assert found[figures.SLACK_CALLS] >= 2
