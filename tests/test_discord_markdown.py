"""What of an answer lands in which Discord message, and how it is written there."""

import re
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chat import Notice, Text, ToolStep
from bot.discord.dialect import render
from bot.discord.fences import left_open
from bot.discord.markdown import split
from bot.discord.transcript import Transcript

LIMIT = 200
State = Literal["started", "finished", "failed"]

unhurried = settings(deadline=None)  # a shared machine has no even pace

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
anything = answers | st.text("ab`~ \n|-#>1.", max_size=900)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@unhurried
@given(anything)
def test_no_piece_is_blank_or_too_long(text: str) -> None:
    assert all(piece.strip() and len(piece) <= LIMIT for piece in split(text, LIMIT))


@unhurried
@given(st.lists(prose, max_size=8).map("\n\n".join))
def test_prose_loses_and_gains_nothing_and_no_word_is_cut(text: str) -> None:
    assert " ".join(split(text, LIMIT)).split() == text.split()


@unhurried
@given(anything)
def test_nothing_is_lost_and_only_fences_are_added(text: str) -> None:
    pieces, at = split(text, LIMIT), 0
    wanted = squeezed(text)
    for character in squeezed("".join(pieces)):
        if at < len(wanted) and wanted[at] == character:
            at += 1
    assert at == len(wanted)
    if "```" not in text and "~~~" not in text:
        assert squeezed("".join(pieces)) == wanted


@unhurried
@given(st.lists(prose | code_blocks(), min_size=1, max_size=8).map("\n\n".join), code_blocks())
def test_a_code_block_that_fits_is_never_cut(text: str, block: str) -> None:
    if len(block) <= LIMIT:
        pieces = split(f"{text}\n\n{block}\n\n{text}", LIMIT)
        assert any(block.strip() in piece for piece in pieces)


@pytest.mark.parametrize("before", [1, 7, 50, 150])
def test_a_block_that_does_not_fit_behind_its_introduction_moves_as_a_whole(before: int) -> None:
    block = "```\n" + "codes\n" * 32 + "```"
    assert split(f"{'x' * before}\n{block}\nafter", LIMIT) == ["x" * before, block, "after"]


@unhurried
@given(st.lists(prose | code_blocks(), min_size=1, max_size=8).map("\n\n".join))
def test_every_piece_closes_the_code_blocks_that_it_opens(text: str) -> None:
    assert not any(left_open(piece) for piece in split(text, LIMIT))


@unhurried
@given(anything, st.data())
def test_all_pieces_but_the_last_stay_while_the_text_grows(text: str, data: st.DataObject) -> None:
    whole = split(text, LIMIT)
    for _ in range(10):
        grown = split(text[: data.draw(st.integers(0, len(text)))], LIMIT)
        assert grown[:-1] == whole[: max(len(grown) - 1, 0)]


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
    whole = render(text, finished=True)
    longer = data.draw(st.integers(0, len(text)))
    shorter = data.draw(st.integers(0, longer))
    assert whole.startswith(render(text[:longer], finished=False))
    assert render(text[:longer], finished=False).startswith(render(text[:shorter], finished=False))


@unhurried
@given(prose)
def test_prose_is_rendered_as_it_is(text: str) -> None:
    assert render(text, finished=True) == text


@unhurried
@given(anything)
def test_a_rendered_answer_leaves_no_block_open(text: str) -> None:
    assert left_open(render(text, finished=True)) is None


def test_a_table_becomes_an_aligned_code_block() -> None:
    table = "Here:\n\n| Name | Count |\n|:---|---:|\n| **Bolt** | 12 |\n| 東京 | 3 |\n\nDone."
    assert render(table, finished=True) == (
        "Here:\n\n```\nName  Count\n────  ─────\nBolt     12\n東京      3\n```\n\nDone."
    )


def test_lines_with_pipes_that_are_no_table_stay() -> None:
    assert render("| a | b |\n| c | d |\n||hidden||", finished=True) == "| a | b |\n| c | d |\n||hidden||"


def test_other_fences_become_discords_own_and_their_content_cannot_end_them() -> None:
    text = "~~~python title=x\nprint('```')\n~~~\n````md\n```py\n```\n````"
    rendered = render(text, finished=True)
    assert rendered.startswith("```python\n")
    assert rendered.count("```") == 4


def test_a_fence_in_a_list_item_is_seen() -> None:
    assert render("1. ```py\n   x\n   ```\nText | here", finished=True).count("```") == 2


def test_deep_headings_become_bold() -> None:
    assert render("### three\n#### four ####", finished=True) == "### three\n**four**"


def step(state: State, id: str = "1", title: str = "Looking up orders", output: str = "") -> ToolStep:
    return ToolStep(id=id, name="sql", state=state, title=title, output=output)


def test_a_tool_step_at_work_is_a_passing_line_below_the_text() -> None:
    transcript = Transcript()
    transcript.add(Text("Let me see."))
    transcript.add(step("started"))
    assert transcript.messages() == ["Let me see.\n-# 🔎 Looking up orders…"]
    transcript.add(step("finished", output="12\nrows"))
    transcript.add(Text("There are 12."))
    assert transcript.messages() == ["Let me see.\n-# ✅ Looking up orders: 12 rows\nThere are 12."]


def test_failed_and_forgotten_steps_are_marked_and_notices_stand_alone() -> None:
    transcript = Transcript()
    transcript.add(step("started", "1"))
    transcript.add(step("started", "2", title="Drawing *it*"))
    assert transcript.messages() == ["-# 🔎 Drawing \\*it\\*… (+1 more)"]
    transcript.add(step("failed", "1", output="timeout"))
    transcript.add(Notice("It took too long."))
    transcript.finish()
    assert transcript.messages() == [
        "-# ⚠️ Looking up orders: timeout\n\nIt took too long.\n\n-# ▫️ Drawing \\*it\\*"
    ]


def test_a_code_block_is_shown_closed_while_it_is_written() -> None:
    transcript = Transcript()
    transcript.add(Text("```py\nx = 1"))
    assert transcript.messages() == ["```py\nx = 1\n```"]


parts = st.lists(
    anything.map(Text)
    | prose.map(Notice)
    | st.builds(
        step, st.sampled_from(["started", "finished", "failed"]), st.sampled_from("123"), prose, prose
    ),
    max_size=12,
)


@unhurried
@given(parts)
def test_messages_once_finished_never_change(parts: list[Text | Notice | ToolStep]) -> None:
    transcript = Transcript()
    before: list[str] = []
    for part in [*parts, None]:
        transcript.add(part) if part else transcript.finish()
        now = transcript.messages()
        assert now[: max(len(before) - 1, 0)] == before[:-1]
        assert all(len(message) <= 2_000 and message.strip() for message in now)
        before = now
