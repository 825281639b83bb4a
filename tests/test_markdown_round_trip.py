"""Generated documents keep their structure: laid out for a platform and parsed again, they are the same."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chat import Text
from bot.discord.markdown.pages import split
from bot.discord.renderer import Renderer
from bot.platforms.markdown.parser import inline_of, parse
from bot.slack.markdown import Pager, paginate

words = st.lists(
    st.sampled_from(
        [
            "word",
            "naïve",
            "e\u0301",
            "👩\u200d👧",
            "**bold**",
            "`co de`",
            "好",
            "_so_",
            "[a b](https://e.com/x)",
        ]
    ),
    min_size=1,
    max_size=8,
)
lines = words.map(" ".join)
few_lines = st.lists(lines, min_size=1, max_size=3)
blocks = st.one_of(
    lines,
    lines.map("## {}".format),
    few_lines.map(lambda quoted: "\n".join(f"> {each}" for each in quoted)),
    few_lines.map(lambda items: "\n".join(f"- {each}\n  - nested\n    1. deep" for each in items)),
    few_lines.map(lambda items: "\n".join(f"- [{'x '[at % 2]}] {each}" for at, each in enumerate(items))),
    few_lines.map(lambda items: "\n".join(f"{at}. {each}" for at, each in enumerate(items, 1))),
    lines.map(lambda line: f"```py\n{line}\n\n  {line}\n```"),
    lines.map(lambda line: f"- item\n\n  ```sh\n  {line}\n  ```"),
    lines.map("note[^1] and this[^why]\n\n[^1]: {}\n[^why]: because".format),
)
documents = st.lists(blocks, min_size=1, max_size=8).map("\n\n".join)
tables = lines.map(lambda line: f"| a | b |\n|---|--:|\n| {line} | 1 |")
few = settings(max_examples=20, deadline=None)

_MARKS = re.compile(r"[☐☑]|\[[x ]\](?= )|[\\\u200b]|\[\^?(\w+)\]:?")


def kinds(text: str) -> list[tuple[str, int, str]]:
    """Return each leaf's kind, level and language."""
    return [(leaf.kind, leaf.level, leaf.info) for leaf in parse(text).leaves]


def said(text: str) -> str:
    """Return the text of all leaves without blanks, boxes and the marks of footnotes."""
    texts = [leaf.content if leaf.kind != "table" else str(leaf.table) for leaf in parse(text).leaves]
    return "".join(_MARKS.sub(r"\1", "\n".join(texts)).split())


def raw_marks(text: str) -> list[str]:
    """Return the marks of a text that have no end, and code that is open."""
    leaves = [leaf for leaf in parse(text).leaves if leaf.kind in ("paragraph", "heading")]
    return [mark for leaf in leaves for _, mark in inline_of(leaf.content).open if mark != "["]


def streamed(text: str) -> list[list[str]]:
    """Return the messages on Discord after each few characters."""
    renderer, shown = Renderer(), list[list[str]]()
    for at in range(0, len(text), 3):
        renderer.add(Text(text[at : at + 3]))
        shown.append(renderer.messages())
    renderer.finish()
    return [*shown, renderer.messages()]


@few
@given(st.lists(documents | tables, min_size=1, max_size=3).map("\n\n".join))
def test_a_document_keeps_its_structure_and_text_on_slack(text: str) -> None:
    shown = "".join(sheet.body for sheet in paginate(text))
    assert kinds(shown) == kinds(text)
    assert said(shown) == said(text)


@few
@given(documents)
def test_a_document_keeps_its_structure_and_text_on_discord(text: str) -> None:
    shown = "\n\n".join(split(text))
    assert kinds(shown) == kinds(text)
    assert said(shown) == said(text)


@few
@given(documents, st.integers(200, 400))
def test_nothing_is_lost_at_a_cut_and_no_mark_stays_open(text: str, limit: int) -> None:
    pieces = split(text, limit)
    assert not [mark for piece in pieces for mark in raw_marks(piece)]
    letters = re.compile(r"[^\w]|_")
    uncut = letters.sub("", re.sub(r"```\w*", "", "".join(pieces)))
    assert uncut == letters.sub("", re.sub(r"```\w*", "", "".join(split(text, 100_000))))


@few
@given(documents)
def test_every_prefix_that_is_shown_is_a_beginning_of_the_whole(text: str) -> None:
    whole = "".join(sheet.body for sheet in paginate(text))
    pager, shown = Pager(), ""
    for character in text:
        pager.feed(character)
        shown += "".join(item for item in pager.take() if isinstance(item, str))
        assert whole.startswith(shown)
        assert shown.count("**") % 2 == 0
    assert whole == shown + "".join(item for item in pager.finish() if isinstance(item, str))


@settings(max_examples=8, deadline=None)
@given(st.lists(documents | tables, min_size=1, max_size=2).map("\n\n".join))
def test_no_mark_of_an_answer_that_grows_on_discord_is_shown_before_its_end(text: str) -> None:
    for messages in streamed(text):
        assert not [mark for message in messages for mark in raw_marks(message)]
    assert messages == streamed(text + "\n")[-1]


@few
@given(
    st.lists(st.sampled_from([*"`*_[]()>|#-\n \u0301🙂", "**", "```", "- ", "[^a]", "word "])).map("".join)
)
def test_hostile_text_is_shown_the_same_however_it_arrives(text: str) -> None:
    renderer = Renderer()
    renderer.add(Text(text))
    renderer.finish()
    assert renderer.messages() == streamed(text)[-1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("So it is[^why].\n\n[^why]: because", "So it is[why].\n\n[why] because"),
        ("See [^1] and [^note-2]", "See [1] and [note-2]"),
        ("Use [^a-z]+ or x[^/]*", "Use [^a-z]+ or x[^/]*"),
    ],
)
def test_footnotes_of_any_label_are_numbers_in_brackets_and_patterns_are_not(text: str, shown: str) -> None:
    assert split(text) == [shown]
    assert [sheet.text for sheet in paginate(text)] == [shown]


def test_bold_text_that_is_too_long_is_plain_on_discord() -> None:
    assert "*" not in "".join(split("**" + "word " * 300 + "end** and on"))
    assert "*" not in "".join(split("> " * 1 + "**" + "word " * 250))


@pytest.mark.parametrize("before", [700, 1_200, 1_700, 1_950])
def test_bold_text_at_the_end_of_a_window_stays_bold(before: int) -> None:
    text = "word " * (before // 5) + "**" + "bold " * 80 + "end** " + "word " * 80
    messages = split(text)
    assert all(message.count("**") % 2 == 0 for message in messages)
    assert sum(len(each) for each in " ".join(messages).split("**")[1::2]) >= 400
