"""Layout of an answer in Discord messages, and its markup there."""

import re
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chat import Notice, Text, ToolStep
from bot.discord.markdown.pages import Pages, finish, open_document, split
from bot.discord.markdown.pages import render as lay_out
from bot.discord.renderer import PIECE, Renderer
from bot.platforms.markdown.atoms import Atom
from bot.tools.sql import format

LIMIT = 200


def render(text: str, *, is_finished: bool) -> str:
    """Return a text as Discord shows it; only what is settled if it is not finished."""
    document = open_document()
    document.feed(text)
    return "".join(atom.text for atom in (lay_out(text) if is_finished else document.take()))


def open_fence(text: str) -> bool:
    """Return whether a code block is open at the end of a text."""
    document = open_document()
    document.feed(text)
    return document.open_code().is_code


State = Literal["started", "finished", "failed"]

unhurried = settings(max_examples=30, deadline=None)  # a shared machine has no even pace

words = st.text("abcdefgh.,!?<>*_é🙂", min_size=1, max_size=30)
prose = st.lists(words, min_size=1, max_size=60).map(" ".join)
code_lines = st.lists(st.text("xyz= ()#`~", max_size=50), max_size=12).map("\n".join)


@st.composite
def code_blocks(draw: st.DrawFn) -> str:
    mark = draw(st.sampled_from("`~")) * draw(st.integers(3, 5))
    indent = draw(st.sampled_from(["", "  ", "    "]))
    code = "\n".join(line for line in draw(code_lines).split("\n") if mark[:3] not in line)
    return f"{indent}{mark}{draw(st.sampled_from(['', 'py', 'python title']))}\n{code}\n{indent}{mark}"


tables = st.lists(st.tuples(words, words), min_size=1, max_size=4).map(
    lambda rows: "| a | b |\n|---|--:|\n" + "\n".join(f"| {a} | {b} |" for a, b in rows)
)
paragraphs = prose | code_blocks() | tables | prose.map("#### {}".format) | prose.map("- {}".format)
answers = st.lists(paragraphs, min_size=1, max_size=8).flatmap(
    lambda blocks: st.sampled_from(["\n", "\n\n", "\n\n\n"]).map(lambda gap: gap.join(blocks))
)
anything = (
    answers | st.text("ab`~ \n|-#>1.", max_size=900) | st.text("a`|\\\n #*[]()h\u0301\u200d", max_size=900)
)


def squeezed(text: str) -> str:
    """Return the text without blanks, and without marks and words that Discord's fences do not have."""
    return re.sub(r"[\s\u200b`~]+|title", "", text)


@unhurried
@given(anything)
def test_no_piece_is_blank_or_too_long(text: str) -> None:
    assert all(piece.strip() and len(piece) <= LIMIT for piece in split(text, LIMIT))


@unhurried
@given(st.lists(prose, max_size=8).map("\n\n".join).map(lambda text: text.replace(">", "")))
def test_prose_loses_and_gains_nothing_and_no_word_is_cut(text: str) -> None:
    assert " ".join(split(text, LIMIT)).split() == text.split()


@unhurried
@given(
    st.lists(prose.map(lambda text: text.replace(">", "")) | code_blocks(), max_size=8).map("\n\n".join)
    | st.text("ab`c \n.()[]h\u0301\u200d", max_size=900)
)
def test_nothing_is_lost_and_only_what_a_cut_repeats_is_added(text: str) -> None:
    pieces, at = split(text, LIMIT), 0
    wanted = squeezed(text)
    for character in squeezed("".join(pieces)):
        if at < len(wanted) and wanted[at] == character:
            at += 1
    assert at == len(wanted)
    if not any(mark in text for mark in ("*", "_", "|", "<", "](")):
        assert squeezed("".join(pieces)) == wanted


@unhurried
@given(st.lists(prose | code_blocks(), min_size=1, max_size=8).map("\n\n".join), code_blocks())
def test_a_code_block_that_fits_is_never_cut(text: str, block: str) -> None:
    shown = render(block, is_finished=True).strip()
    if len(shown) <= LIMIT:
        pieces = split(f"{text}\n\n{block}\n\n{text}", LIMIT)
        assert any(shown in piece for piece in pieces)


@pytest.mark.parametrize("before", [1, 7, 50, 150])
def test_a_block_that_does_not_fit_behind_its_introduction_moves_as_a_whole(before: int) -> None:
    block = "```\n" + "codes\n" * 32 + "```"
    assert split(f"{'x' * before}\n{block}\nafter", LIMIT) == ["x" * before, block, "after"]


@unhurried
@given(st.lists(prose | code_blocks(), min_size=1, max_size=8).map("\n\n".join))
def test_every_piece_closes_the_code_blocks_that_it_opens(text: str) -> None:
    assert not any(open_fence(piece) for piece in split(text, LIMIT))


@unhurried
@given(anything, st.data())
def test_all_pieces_but_the_last_stay_while_the_text_grows(text: str, data: st.DataObject) -> None:
    whole = split(text, LIMIT)
    document, pages = open_document(), Pages(LIMIT)
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    for start, end in pairwise([0, *places, len(text)]):
        document.feed(text[start:end])
        pages.add(document.take())
        shown = pages.texts(document.tentative())
        assert shown[:-1] == whole[: max(len(shown) - 1, 0)]
    pages.add(finish(document))
    assert pages.texts() == whole


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (f"{'a ' * 60}\n\n{'b ' * 30}\n{'c. ' * 30}", "a " * 60),
        (f"{'a ' * 60}\n{'b. ' * 20}{'c ' * 60}", "a " * 60),
        (f"{'a ' * 60}. {'b ' * 60}", f"{'a ' * 60}."),
        ("ab " * 100, "ab " * 67),
        ("x" * 300, "x" * 200),
    ],
    ids=["paragraph", "line", "sentence", "word", "a word that is too long"],
)
def test_a_cut_goes_to_the_best_place(text: str, first: str) -> None:
    assert split(text, LIMIT)[0] == first.strip()


units = (
    prose.filter(lambda text: len(text) < 80).map("`{}`".format)
    | st.tuples(prose, st.integers(1, 60)).map(
        lambda each: f"[{each[0][:60]}](https://e.com/{'x' * each[1]})"
    )
    | st.integers(1, 150).map(lambda length: f"https://example.com/{'a' * length}")
)


@unhurried
@given(st.lists(prose, min_size=1, max_size=8), units, st.sampled_from(["", " ", "\n", "("]))
def test_inline_code_links_and_addresses_that_fit_are_never_cut(
    before: list[str], unit: str, gap: str
) -> None:
    for text in (" ".join(before), "x" * len(" ".join(before)), "- " + "y" * 180):
        pieces = split(f"{text}{gap}{unit} {text} {unit}", LIMIT)
        assert sum(piece.count(unit) for piece in pieces) == 2


@pytest.mark.parametrize("unit", ["`co de`", "[te xt](https://e.com)", "https://e.com/x"])
@pytest.mark.parametrize("before", range(150, 201))
def test_units_of_a_line_are_whole_wherever_the_limit_falls(unit: str, before: int) -> None:
    for text in ("x" * before, ("word " * 40)[:before]):
        assert any(unit in piece for piece in split(f"{text}{unit} and more {'words ' * 20}", LIMIT))


def test_a_lone_backtick_or_bracket_holds_nothing_together_for_long() -> None:
    pieces = split("`[" + "word " * 200, LIMIT)
    assert len(pieces) <= 6
    assert all(len(piece) > LIMIT // 2 for piece in pieces[1:-1])


def test_code_that_fits_no_message_is_cut_between_words() -> None:
    text = "`" + "word " * 200 + "`"
    assert " ".join(split(text, LIMIT)).split() == text.split()


def test_a_nested_item_at_the_beginning_of_a_piece_keeps_its_indentation() -> None:
    text = "- first\n" + "".join(f"  - nested {number}\n    - deep {number}\n" for number in range(30))
    pieces = split(text, LIMIT)
    assert len(pieces) > 2
    assert all(piece.startswith(("\u200b\n  - ", "\u200b\n    - ")) for piece in pieces[1:])
    lines = [line for piece in pieces for line in piece.removeprefix("\u200b\n").split("\n")]
    assert lines == text.rstrip().split("\n")


def test_a_list_is_rather_cut_before_an_item_of_the_first_level() -> None:
    text = "".join(f"- item {number}\n  - nested {number}\n" for number in range(30))
    assert all(piece.startswith("- item") for piece in split(text, LIMIT))


@pytest.mark.parametrize(
    "character",
    ["👩\u200d👩\u200d👧", "e\u0301\u0323", "❤\ufe0f", "👍🏽", "ก\u0e35\u0e48"],
    ids=["joined emoji", "accents", "variation selector", "skin tone", "vowel and tone"],
)
@pytest.mark.parametrize("before", range(6))
def test_a_cut_never_goes_through_what_a_reader_sees_as_one_character(character: str, before: int) -> None:
    text = "x" * before + character * 200
    pieces = split(text, LIMIT) + split(f"```\n{text}\n```", LIMIT)
    for piece in pieces:
        assert len(piece.replace(character, "").strip("`\n")) in (0, before)


def test_a_character_that_fits_no_message_is_cut() -> None:
    assert "".join(split("e" + "\u0301" * 500, LIMIT)) == "e" + "\u0301" * 500


def test_a_block_that_fits_no_message_is_closed_and_opened_again() -> None:
    lines = [f"line {number}" for number in range(60)]
    pieces = split("```py\n" + "\n".join(lines) + "\n```\nThat is all.", LIMIT)
    assert all(piece.startswith("```py\n") for piece in pieces)
    assert all(piece.endswith("\n```") for piece in pieces[:-1])
    assert pieces[-1].endswith("```\nThat is all.")
    assert [line for piece in pieces for line in piece.split("\n") if line.startswith("line")] == lines


@unhurried
@given(anything, st.data())
def test_rendered_text_only_grows_while_the_text_grows(text: str, data: st.DataObject) -> None:
    whole = render(text, is_finished=True)
    longer = data.draw(st.integers(0, len(text)))
    shorter = data.draw(st.integers(0, longer))
    assert whole.startswith(render(text[:longer], is_finished=False))
    assert render(text[:longer], is_finished=False).startswith(render(text[:shorter], is_finished=False))


@unhurried
@given(prose)
def test_prose_is_rendered_as_it_is(text: str) -> None:
    assert render(text, is_finished=True) == text


@unhurried
@given(anything)
def test_a_rendered_answer_leaves_no_block_open(text: str) -> None:
    assert not open_fence(render(text, is_finished=True))


def test_a_table_becomes_an_aligned_code_block() -> None:
    table = "Here:\n\n| Name | Count |\n|:---|---:|\n| **Bolt** | 12 |\n| 東京 | 3 |\n\nDone."
    assert render(table, is_finished=True) == (
        "Here:\n\n```\nName      Count\n────────  ─────\n**Bolt**     12\n東京          3\n```\n\nDone."
    )


values = st.text("ab_*~`|<>\\&[]()#1 é好", max_size=30).map(str.strip)


@unhurried
@given(st.lists(st.tuples(values, values), min_size=1, max_size=5))
def test_the_cells_of_a_table_are_data_and_lose_no_character(rows: list[tuple[str, str]]) -> None:
    """Kind: values are formatted. `stg_orders__daily` was shown as `stg_ordersdaily`, `2*3*4` as `234`."""
    lines = "".join(f"| {format.row_line(row)[2:]}\n" for row in rows)
    shown = render(f"| a | b |\n|---|---|\n{lines}", is_finished=True).replace("\u200b", "")
    for value in {value for row in rows for value in row}:
        assert value in shown


def test_a_long_cell_is_wrapped_within_a_width_that_a_screen_has() -> None:
    """Kind: one cell decides the size of all. A cell of 500 characters made 14 messages."""
    rows = "".join(f"| {number} | {'word ' * (100 if number == 7 else 1)}|\n" for number in range(20))
    shown = render(f"| id | words |\n|---:|---|\n{rows}", is_finished=True)
    assert max(map(len, shown.split("\n"))) <= 90
    assert shown.count("word") == 120
    assert len(split(shown)) == 1


def test_a_table_too_wide_for_any_screen_stays_as_it_is() -> None:
    row = "| " + " | ".join(f"value number {number}" for number in range(30)) + " |"
    shown = render(f"{row}\n{'|-' * 30}|\n{row}\n", is_finished=True)
    assert shown == f"```\n{row}\n{'|-' * 30}|\n{row}\n```\n"


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        ("a | b\n---|---\n1 | 2\n\nEnd", "```\na  b\n─  ─\n1  2\n```\n\nEnd"),
        ("a | b\n:--|--:\n1 | 2", "```\na  b\n─  ─\n1  2\n```"),
        ("> | a | b |\n> |---|---|\n> | 1 | 2 |\nEnd", "> ```\n> a  b\n> ─  ─\n> 1  2\n> ```\nEnd"),
        ("| a |\n|---|\n| 1<br>2<br/>3 |", "```\na\n─\n1\n2\n3\n```"),
        ("text\n| a | b |\n|---|---|\n", "text\n```\na  b\n─  ─\n```\n"),
    ],
    ids=["no outer pipes", "aligned", "in a quote", "line breaks", "no rows"],
)
def test_tables_are_seen_in_every_form(table: str, shown: str) -> None:
    """Kind: a form of Markdown that models write is not known."""
    assert render(table, is_finished=True) == shown


@pytest.mark.parametrize(
    "text", ["a | b\n--\n", "- a | b\n  - c\n", "words\na | b\n", "| a\n| b\n", "a || b\n---|---\n"]
)
def test_lines_that_only_look_like_a_table_stay(text: str) -> None:
    assert render(text, is_finished=True).replace("\\", "") == text


def test_a_tag_of_a_line_break_breaks_the_line_outside_of_code() -> None:
    assert render("> one<br>two `<br>`<BR/>", is_finished=True) == "> one\n> two `<br>`\n> "


@pytest.mark.parametrize(
    ("text", "shown"), [("#### C#", "**C#**"), ("#### C# ##", "**C#**"), ("#### F# and C#", "**F# and C#**")]
)
def test_a_heading_loses_only_the_marks_that_close_it(text: str, shown: str) -> None:
    assert render(text, is_finished=True) == shown


def test_a_quote_goes_on_behind_a_cut() -> None:
    """Kind: what a cut goes through is lost behind it."""
    pieces = split("> " + "word " * 200 + "\nAfter.", LIMIT)
    assert len(pieces) > 5
    assert all(piece.startswith("> word") for piece in pieces)
    assert pieces[-1].endswith("\nAfter.")


def test_bold_text_goes_on_behind_a_cut_and_ends_where_it_ended() -> None:
    pieces = split("**" + "word " * 99 + "word** plain " + "text " * 100, LIMIT)
    assert all(piece.count("**") % 2 == 0 and len(piece) <= LIMIT for piece in pieces)
    assert all(piece.startswith("**word") for piece in pieces[:3])
    assert "**" not in "".join(pieces[-2:])


def test_code_in_a_quote_is_closed_and_opened_within_the_quote() -> None:
    pieces = split("> ```py\n" + "> x = compute(1)\n" * 40 + "> ```\nAfter.", LIMIT)
    assert all(piece.startswith("> ```py\n> x") for piece in pieces)
    assert all(piece.endswith("\n> ```") for piece in pieces[:-1])


def test_code_in_a_quote_ends_with_the_quote() -> None:
    assert render("> ```\n> x\nno longer", is_finished=True) == "> ```\n> x\n> ```\nno longer"


def test_lines_with_pipes_that_are_no_table_stay() -> None:
    text = "| a | b |\n| c | d |\na | b\n"
    assert render(text, is_finished=True) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a || b || c", r"a \|\| b \|\| c"),
        ("||a|| and\n|| b", "\\|\\|a\\|\\| and\n\\|\\| b"),
        (r"already \|| b", r"already \|| b"),
        ("`a || b` || c", r"`a || b` \|\| c"),
        ("``a ` || b`` ||", r"``a ` || b`` \|\|"),
        ("no code ` a || b", r"no code ` a \|\| b"),
        ("```sql\na || b\n```", "```sql\na || b\n```"),
        ("#### `a || b` || c", r"**`a || b` \|\| c**"),
    ],
)
def test_bars_outside_of_code_hide_nothing(text: str, shown: str) -> None:
    assert render(text, is_finished=True) == shown


def test_bars_are_shown_while_their_line_is_written() -> None:
    assert render("a || b || c", is_finished=False) == r"a \|\| b \|\| "
    assert render("a `b || c", is_finished=False) == "a "


def test_other_fences_become_discords_own_and_their_content_cannot_end_them() -> None:
    text = "~~~python title=x\nprint('```')\n~~~\n````md\n```py\n```\n````"
    rendered = render(text, is_finished=True)
    assert rendered.startswith("```python\n")
    assert rendered.count("```") == 4


def test_a_fence_in_a_list_item_is_seen() -> None:
    assert render("1. ```py\n   x\n   ```\nText | here", is_finished=True).count("```") == 2


def test_deep_headings_become_bold() -> None:
    assert render("### three\n#### four ####", is_finished=True) == "### three\n**four**"


@pytest.mark.parametrize(
    ("heading", "shown"),
    [
        ("#### **Title**", "**Title**"),
        ("##### 1. **Title** of `a ** b`", "**1. Title of `a ** b`**"),
        ("#### ****", "#### ****"),
    ],
)
def test_bold_in_deep_headings_leaves_no_asterisks(heading: str, shown: str) -> None:
    assert render(heading, is_finished=True) == shown


def step(state: State, id: str = "1", title: str = "Looking up orders", output: str = "") -> ToolStep:
    return ToolStep(id=id, name="sql", state=state, title=title, output=output)


def test_a_tool_step_at_work_is_a_passing_line_below_the_text() -> None:
    renderer = Renderer()
    renderer.add(Text("Let me see."))
    renderer.add(step("started"))
    assert renderer.messages() == ["Let me see.\n-# ⏳ Looking up orders…"]
    renderer.add(step("finished", output="12\nrows"))
    renderer.add(Text("There are 12."))
    assert renderer.messages() == ["Let me see.\n-# ✓ Looking up orders: 12 rows\nThere are 12."]


def test_a_short_line_is_shown_at_once_though_it_may_become_a_table() -> None:
    renderer = Renderer()
    renderer.add(Text("Words.\n\nname"))
    assert renderer.messages() == ["Words.\n\nname"]
    renderer.add(Text(" | size\n---|--"))
    assert renderer.messages() == ["Words."]
    renderer.add(Text("-\na | b\n\n"))
    assert renderer.messages() == ["Words.\n\n```\nname  size\n────  ────\na     b\n```"]


def test_failed_and_forgotten_steps_are_marked_and_notices_stand_alone() -> None:
    renderer = Renderer()
    renderer.add(step("started", "1"))
    renderer.add(step("started", "2", title="Drawing *it*"))
    assert renderer.messages() == ["-# ⏳ Looking up orders…\n-# ⏳ Drawing \\*it\\*…"]
    renderer.add(step("failed", "1", output="timeout"))
    renderer.add(Notice("It took too long."))
    renderer.finish()
    assert renderer.messages() == [
        "-# ⚠️ Looking up orders: timeout\n\nIt took too long.\n\n-# ▫️ Drawing \\*it\\*"
    ]


def test_each_running_step_has_a_line_until_its_outcome_with_rows_and_duration() -> None:
    renderer = Renderer()
    for id in "12":
        renderer.add(replace(step("started", id), activity="Running a query"))
    assert renderer.messages() == ["-# ⏳ Running a query…\n-# ⏳ Running a query…"]
    renderer.add(replace(step("finished", "2"), activity="Running a query", rows=120, seconds=0.41))
    assert renderer.messages() == ["-# ✓ Looking up orders: 120 rows, 0.4 s\n-# ⏳ Running a query…"]
    renderer.add(replace(step("failed", "1", output="no such table."), seconds=123))
    assert renderer.messages() == [
        "-# ✓ Looking up orders: 120 rows, 0.4 s\n-# ⚠️ Looking up orders: no such table, 2 min 3 s"
    ]


def test_many_running_steps_leave_room_for_the_answer() -> None:
    renderer = Renderer()
    renderer.add(Text("x" * PIECE))
    for number in range(40):
        renderer.add(step("started", str(number), title="*" * 200))
    (message,) = renderer.messages()
    assert message.endswith("… (+39 more)")
    assert len(message) <= 2_000


def test_a_code_block_is_shown_closed_while_it_is_written() -> None:
    renderer = Renderer()
    renderer.add(Text("```py\nx = 1"))
    assert renderer.messages() == ["```py\nx = 1\n```"]


parts = st.lists(
    anything.map(Text)
    | prose.map(Notice)
    | st.builds(
        step, st.sampled_from(["started", "finished", "failed"]), st.sampled_from("123"), prose, prose
    ),
    max_size=12,
)


@unhurried
@given(anything, st.lists(st.integers(0, 900), max_size=20), st.data())
def test_how_an_answer_arrives_changes_nothing(text: str, places: list[int], data: st.DataObject) -> None:
    edges = sorted({min(place, len(text)) for place in places} | {0, len(text)})
    streamed, whole = Renderer(), Renderer()
    for start, end in pairwise(edges):
        streamed.add(Text(text[start:end]))
        if data.draw(st.booleans()):
            streamed.messages()
    whole.add(Text(text))
    streamed.finish()
    whole.finish()
    assert streamed.messages() == whole.messages()


@unhurried
@given(st.text("ab `|<", max_size=60), st.integers(90, 900))
def test_a_line_longer_than_a_message_is_rewritten_as_it_arrives(unit: str, size: int) -> None:
    text = (f"word {unit} " * 400)[:5_000] + "\n" + unit
    document, shown = open_document(), list[Atom]()
    for at in range(0, len(text), size):
        document.feed(text[at : at + size])
        if at % 7 == 0:
            shown += document.take()
    shown += finish(document)
    assert "".join(atom.text for atom in shown) == render(text, is_finished=True)


@unhurried
@given(parts)
def test_messages_once_finished_never_change(parts: list[Text | Notice | ToolStep]) -> None:
    renderer = Renderer()
    before: list[str] = []
    for part in [*parts, None]:
        renderer.add(part) if part else renderer.finish()
        now = renderer.messages()
        assert now[: max(len(before) - 1, 0)] == before[:-1]
        assert all(len(message) <= 2_000 and message.strip() for message in now)
        before = now
