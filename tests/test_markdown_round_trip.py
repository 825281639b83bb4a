"""Generated documents keep their structure: laid out for a platform and parsed again, they are the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.discord.markdown.pages import split
from bot.platforms.markdown.parser import parse
from bot.slack.markdown import Pager, paginate

words = st.lists(
    st.sampled_from(["word", "naïve", "e\u0301", "👩\u200d👧", "**bold**", "`co de`", "好"]), min_size=1
)
lines = words.map(" ".join)
blocks = st.one_of(
    lines,
    lines.map("## {}".format),
    lines.map("> {}".format),
    st.lists(lines, min_size=1, max_size=3).map(
        lambda items: "\n".join(f"- {each}\n  - nested" for each in items)
    ),
    lines.map("- [x] {}".format),
    lines.map("1. {}".format),
    lines.map(lambda line: f"```py\n{line}\n```"),
    lines.map(lambda line: f"[{line.replace('`', '')}](https://e.com/x)"),
    lines.map("note[^1]\n\n[^1]: {}".format),
)
documents = st.lists(blocks, min_size=1, max_size=6).map("\n\n".join)
tables = lines.map(lambda line: f"| a | b |\n|---|--:|\n| {line} | 1 |")
few = settings(max_examples=25, deadline=None)


def kinds(text: str) -> list[tuple[str, int, str]]:
    """Return each leaf's kind, level and language."""
    return [(leaf.kind, leaf.level, leaf.info) for leaf in parse(text).leaves]


@few
@given(st.lists(documents | tables, min_size=1, max_size=3).map("\n\n".join))
def test_a_document_keeps_its_structure_on_slack(text: str) -> None:
    assert kinds("".join(sheet.body for sheet in paginate(text))) == kinds(text)


@few
@given(documents)
def test_a_document_keeps_its_structure_on_discord(text: str) -> None:
    assert kinds("\n\n".join(split(text))) == kinds(text)


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
