"""Answers in Slack's markup: inert, cut into messages without loss, however they arrive."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.chat import Notice, Text, ToolStep
from bot.slack.markdown import (
    MESSAGE_LIMIT,
    PageBreak,
    Pager,
    clip,
    neutralise,
    paginate,
)
from bot.slack.mrkdwn import mrkdwn
from bot.slack.renderer import FIELD_LIMIT, Renderer

SLACK_LIMIT = 12_000
PING = re.compile(r"<(!(channel|here|everyone|subteam)|@[UWB]\w)")

# small alphabets, so that fences, pings and long runs really occur; big pieces, so that messages fill up
MARKUP = [
    "```",
    "```python\n",
    "~~~\n",
    "\n```\n",
    "<",
    "<!",
    "<!channel>",
    "<@U1>",
    "`",
    "- item\n",
    "> ",
    "- ```\n",
    "1. ~~~\n",
    "> ```\n",
    "| <!channel> | *a* |\n|---|---|\n",
    "~~~ <@U1>\n",
]
SPACES = ["\n", "\n\n", " ", "    ", "\r\n", "\t"]
WORDS = ["word ", "end.\n", "好", "は", "chan", "nel>", "here> ", "@U2> "]
LONG = [
    "| a | b |\n|---|---|\n" + "| x | y |\n" * 900,
    "| <!here> | <@U1> |\n|---|---|\n" + "| x_ | *y* |\n" * 900,
    "> " + "quoted " * 900,
    "lorem ipsum " * 300,
    "x = 1\n" * 500,
    "字" * 3000,
    "a" * 3000,
    "end.\n\n" * 500,
    " " * 3000,
]
snippets = st.one_of(st.sampled_from([*MARKUP, *SPACES, *WORDS]), st.sampled_from(LONG), st.text(max_size=9))
answers = st.lists(snippets, max_size=12).map("".join)


thorough = settings(max_examples=60, deadline=None)  # a shared machine has no even pace


def cut_at(text: str, places: list[int]) -> list[str]:
    edges = sorted({min(place, len(text)) for place in places} | {0, len(text)})
    return [text[start:end] for start, end in pairwise(edges)]


def fed(pager: Pager, text: str) -> list[str | PageBreak]:
    pager.feed(text)
    return pager.take()


def page_all(pieces: list[str]) -> list[str | PageBreak]:
    """Return the output of a pager, with neighbouring texts joined."""
    pager, joined = Pager(), list[str | PageBreak]()
    for item in [item for piece in pieces for item in fed(pager, piece)] + pager.finish():
        if joined and isinstance(item, str) and isinstance(joined[-1], str):
            joined[-1] += item
        else:
            joined.append(item)
    return joined


def as_written(text: str) -> str:
    """`text` without what makes it inert: the invisible character, and the backslashes before data."""
    return text.replace("\u200b", "").replace("\\", "").replace("\r\n", "\n").replace("\r", "\n")


def sample(size: int, unit: str) -> str:
    return (unit * (size // len(unit) + 1))[:size]


@given(answers)
@thorough
def test_no_cut_loses_or_adds_anything(text: str) -> None:
    shown = "".join(item for item in page_all([text]) if isinstance(item, str))
    assert as_written(shown) == as_written(text)
    sheets = paginate(text)
    assert as_written("".join(sheet.body for sheet in sheets)).split() == (as_written(text).split())


@given(answers, st.lists(st.integers(0, 40_000), max_size=30))
@thorough
def test_how_an_answer_arrives_changes_nothing(text: str, places: list[int]) -> None:
    assert page_all(cut_at(text, places)) == page_all([text])


@given(answers)
@example("<!chan" + "nel>")
@thorough
def test_every_message_fits_and_pings_nobody(text: str) -> None:
    for sheet in paginate(text):
        assert len(sheet.text) <= SLACK_LIMIT
        assert not PING.search(sheet.text)


@given(answers, st.lists(st.integers(0, 40_000), max_size=30))
@thorough
def test_what_is_shown_before_a_tool_call_pings_nobody_either(text: str, places: list[int]) -> None:
    pager, shown = Pager(), ""
    for piece in cut_at(text, places):
        shown += "".join(item for item in [*fed(pager, piece), *pager.flush()] if isinstance(item, str))
    assert as_written(shown).split() == as_written("".join(pager.source)).split()
    assert "".join(as_written(shown).split()) == "".join(as_written(text).split())
    assert not PING.search(shown)


@given(answers)
@thorough
def test_every_message_but_the_last_closes_its_code(text: str) -> None:
    for sheet in paginate(text)[:-1]:
        pager = Pager()
        pager.feed(sheet.text)
        pager.flush()
        assert not pager.cut().close


def test_no_cut_falls_into_a_word() -> None:
    words = [f"word{'s' * (number * 7 % 60)}{number}" for number in range(2000)]
    sheets = paginate(" ".join(words))
    assert len(sheets) > 3
    assert [word for sheet in sheets for word in sheet.body.split()] == words


@given(st.lists(st.builds(Text, answers) | st.builds(Notice, st.text("ab c", min_size=1)), max_size=5))
@example([Text("a <"), Notice("b"), Text("<@U"), Notice("c")])
@thorough
def test_an_answer_that_is_shown_again_is_cut_in_the_same_places(parts: list[Text | Notice]) -> None:
    """So that after a crash the messages that are right already are left alone."""
    renderer = Renderer()
    for part in parts:
        renderer.add(part)
    renderer.finish()
    bodies, body = list[str](), ""
    for item in [*renderer.take(), PageBreak()]:
        if isinstance(item, str):
            body += item
        else:
            bodies.append(body)
            body = ""
    assert [sheet.body for sheet in paginate(renderer.text)] == [each for each in bodies if each.strip()]


def test_code_is_closed_at_the_end_of_a_message_and_reopened_in_the_next() -> None:
    code = sample(30_000, "value = compute(1)\n")
    sheets = paginate(f"Here:\n```python\n{code}\n```\nDone.")
    assert len(sheets) == 3
    for sheet in sheets:
        assert sheet.text.count("```") % 2 == 0
    assert sheets[1].text.startswith("```python\nvalue = compute(1)\n")
    assert sheets[0].text.endswith("value = compute(1)\n```")
    assert "".join(sheet.body for sheet in sheets) == f"Here:\n```python\n{code}\n```\nDone."


def test_a_message_that_is_long_already_ends_before_a_code_block() -> None:
    prose = sample(9_000, "Some words here. ") + "\n"
    sheets = paginate(prose + "```\ncode\n```\n")
    assert [sheet.body for sheet in sheets] == [prose, "```\ncode\n```\n"]


def test_a_message_ends_with_a_paragraph_where_it_can() -> None:
    paragraph = sample(990, "Some words here. ").strip() + ".\n\n"
    sheets = paginate(paragraph * 30)
    assert len(sheets) == 3
    assert all(sheet.text.endswith(".\n\n") for sheet in sheets)


def test_a_cut_at_any_time_breaks_no_word_and_no_line_of_code() -> None:
    pager = Pager()
    assert fed(pager, "one tw") == ["one "]
    pager.cut_soon()
    assert fed(pager, "o three ") == [PageBreak(), "two three "]
    fed(pager, "\n```\nx = ")
    pager.cut_soon()
    assert fed(pager, "1\ny = 2\n") == [PageBreak(close="```", reopen="```\n"), "x = 1\ny = 2\n"]


@pytest.mark.parametrize(
    "code",
    ["<!DOCTYPE html>", "<!-- note -->", "List<@Nullable String>", "a < b && c > d", "&lt;", "x<y"],
)
def test_code_is_left_alone(code: str) -> None:
    assert neutralise(code) == code


@pytest.mark.parametrize(
    "ping", ["<!channel>", "<!HERE|x>", "<!everyone>", "<!subteam^S1>", "<@U1>", "<@W12|x>"]
)
def test_pings_are_broken_by_something_invisible(ping: str) -> None:
    assert neutralise(f"`{ping}`") == f"`<\u200b{ping[1:]}`"


def test_answers_to_commands_are_in_slacks_older_format() -> None:
    assert mrkdwn("- 🟢 **redis** ok: ping 1\n- [a](https://x.org/?a&b) <!here>") == (
        "• 🟢 *redis* ok: ping 1\n• <https://x.org/?a&amp;b|a> &lt;!here&gt;"
    )


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("[a](https://x.y/z_(w))", "<https://x.y/z_(w)|a>"),
        ("([a](https://x.y/z))", "(<https://x.y/z|a>)"),
        ("[a](https://x.y/z(", "[a](https://x.y/z("),
    ],
)
def test_an_address_keeps_its_own_brackets(link: str, shown: str) -> None:
    """Kind: a pattern ends too early. `[a](https://x.y/z_(w))` was cut at the parenthesis."""
    assert mrkdwn(link) == shown


def test_texts_of_a_card_are_one_short_line() -> None:
    assert clip("a\n b", 10) == "a b"
    assert clip("x" * 300, FIELD_LIMIT) == "x" * 255 + "…"


def test_a_step_shows_the_words_before_it_and_tells_its_output_once() -> None:
    renderer = Renderer()
    renderer.add(Text("Let me lo"))
    renderer.add(Text("ok"))
    renderer.add(ToolStep(id="1", name="sql", state="started", title="Count orders"))
    renderer.add(ToolStep(id="1", name="sql", state="finished", title="Count orders", output="42"))
    renderer.add(ToolStep(id="1", name="sql", state="finished", title="Count orders", output="42"))
    card = {"type": "task_update", "id": "1", "title": "Count orders"}
    assert renderer.take() == [
        "Let me look",
        card | {"status": "in_progress"},
        card | {"status": "complete", "output": "42"},
        card | {"status": "complete"},
    ]


def test_a_notice_is_a_paragraph_of_its_own_even_after_unfinished_code() -> None:
    renderer = Renderer()
    renderer.add(Text("```\nx = 1"))
    renderer.add(Notice("Time is up."))
    renderer.add(Text("more"))
    renderer.finish()
    assert renderer.text == "```\nx = 1\n```\n\nTime is up.\n\nmore"


@pytest.mark.parametrize(
    ("text", "closing"),
    [
        ("```python\nx", "```"),
        ("~~~\n```\n", "~~~"),
        ("````\n```\n", "````"),
        ("- ```sh\n  ls\n", "  ```"),
        ("1. Run:\n   ```sh\n   ls\n", "   ```"),
        ("> ```\n> ls\n", "> ```"),
        ("- > ~~~\n  > ls\n", "  > ~~~"),
        ("```\n``` not the end\n", "```"),
        ("```\n  code\n   ``` x\n", "```"),
        ("``` a title of words", "```"),
    ],
)
def test_an_open_code_block_is_known(text: str, closing: str) -> None:
    pager = Pager()
    pager.feed(text)
    pager.flush()
    assert pager.cut().close.strip("\n") == closing


@pytest.mark.parametrize(
    "text",
    [
        "```code```\n",
        "``` one `line` ```\n",
        "```\ncode\n```",
        "```\ncode\n`````  \n",
        "- ```\n  code\n  ```\n",
        "> ```\n> code\nno longer quoted\n",
        "- ```\n  code\nno longer in the list\n",
        "    ```\n    code\n    ```\n",
        "`` ` ``\n",
        "-```\n",
        "words ```\n",
    ],
)
def test_what_is_no_open_code_block_is_known(text: str) -> None:
    pager = Pager()
    pager.feed(text)
    pager.flush()
    assert pager.cut() == PageBreak()


@pytest.mark.parametrize("code", ["- ```\n  x = 1", "> ```\n> x = 1", "~~~ title\nx = 1\n", "````\n```\n"])
def test_a_notice_never_stands_in_a_code_block(code: str) -> None:
    renderer = Renderer()
    renderer.add(Text(code))
    renderer.add(Notice("Time is up."))
    pager = Pager()
    pager.feed(renderer.text.partition("Time")[0])
    assert pager.cut() == PageBreak()


def test_a_notice_after_code_on_one_line_closes_nothing() -> None:
    renderer = Renderer()
    renderer.add(Text("```code```\nSo far"))
    renderer.add(Notice("Time is up."))
    renderer.finish()
    assert renderer.text == "```code```\nSo far\n\nTime is up.\n\n"


def test_a_table_that_is_cut_begins_again_with_its_header() -> None:
    head = "| number | name |\n|:---|---:|\n"
    rows = "".join(f"| {number} | {'x' * 30} |\n" for number in range(600))
    first, *others = paginate(f"{head}{rows}\nDone.")
    assert len(others) > 1
    assert first.text.startswith(head)
    assert all(sheet.reopen == head for sheet in others)
    assert "".join(sheet.body for sheet in [first, *others]) == f"{head}{rows}\nDone."


@pytest.mark.parametrize("ping", ["<!channel>", "<@U1>", "<!subteam^S1>"])
def test_what_a_cut_repeats_pings_nobody(ping: str) -> None:
    """Kind: what was made inert is repeated as it was. A head of a table, and the words behind a fence."""
    head = f"| {ping} | name |\n|---|---|\n"
    sheets = paginate(head + f"| {'x' * 30} | y |\n" * 600) + paginate(f"~~~ {ping}\n" + "x = 1\n" * 4_000)
    repeated = [sheet.reopen for sheet in sheets if sheet.reopen]
    assert len(repeated) > 2
    assert not PING.search("".join(sheet.text for sheet in sheets))
    assert all(as_written(reopen) in (head, f"~~~ {ping}\n") for reopen in repeated)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("2*3*4", r"2\*3\*4"),
        ("stg_orders__daily", "stg_orders__daily"),
        ("__init__", r"\_\_init\_\_"),
        ("~~a~~ `b` **c**", r"\~\~a\~\~ \`b\` \*\*c\*\*"),
        ("[a](https://x.y/a_b_)", r"\[a](https://x.y/a_b_)"),
        (r"C:\new \| x", r"C:\\new \| x"),
        ("&lt;b&gt; R&D", r"\&lt;b\&gt; R&D"),
    ],
)
def test_the_cells_of_a_table_are_data(cell: str, shown: str) -> None:
    """Kind: values are formatted. `2*3*4` was shown as `234`."""
    for lead in ("", "> "):
        table = f"{lead}| a | b |\n{lead}|---|---|\n{lead}| {cell} | 1 |\n"
        assert paginate(table)[0].text.endswith(f"{lead}| {shown} | 1 |\n")
    assert paginate(f"a | b\n---|---\n{cell} | 1\n")[0].text.endswith(f"\n{shown} | 1\n")
    assert paginate(f"Words {cell}")[0].text == f"Words {cell}"
    assert paginate(f"```\n| {cell} |\n```")[0].text == f"```\n| {cell} |\n```"


def test_a_quote_goes_on_behind_a_cut() -> None:
    """Kind: what a cut goes through is lost behind it."""
    sheets = paginate("> " + "word " * 6_000 + "\nafter")
    assert len(sheets) > 2
    assert all(sheet.text.startswith("> word") for sheet in sheets)


@pytest.mark.parametrize("before", range(10_700, 10_800, 10))
def test_a_table_is_never_cut_before_its_first_row(before: int) -> None:
    table = "| number | name |\n|---|---|\n| 1 | one |\n"
    for sheet in paginate(sample(before, "word ") + "\n" + table * 3 + "\n" + "word " * 400):
        assert ("| number" in sheet.text) == ("|---|" in sheet.text) == ("| one |" in sheet.text)


def test_the_limit_leaves_room_below_slacks() -> None:
    assert MESSAGE_LIMIT < SLACK_LIMIT
