"""No text that anybody sends costs more than linear time: every pattern, and every loop over text.

A pattern or a renderer whose cost grows faster lets one message stop the event loop, and with it everybody.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import discord
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.agent.attachments.file_types import kind_of
from bot.agent.models.arguments import Unreadable, read_arguments
from bot.agent.spotlighting import indent, label, mark
from bot.chat import Text, parse_decision
from bot.discord import events
from bot.discord.markdown.pages import split
from bot.discord.payloads import read_message
from bot.discord.renderer import Renderer as DiscordRenderer
from bot.discord.thread_names import title_of
from bot.memory.memory import _is_reworded
from bot.memory.terms import indexed_terms
from bot.slack.events import parse_event
from bot.slack.markdown import paginate
from bot.slack.mrkdwn import mrkdwn
from bot.slack.renderer import Renderer as SlackRenderer
from tests.support.discord_shard import ME, sample
from tests.support.growth import MOST_GROWTH, grows
from tests.support.patterns import (
    MODULES,
    ROOT,
    SCRIPTS,
    WAYS,
    Use,
    calls,
    hidden_uses,
    hostile,
    in_module,
    in_script,
    in_source,
    literals,
)

PARTS = sorted({path.relative_to(ROOT / "bot").parts[0] for path in MODULES})


@cache
def patterns(part: str) -> list[Use]:
    """All patterns of one part of the bot."""
    found: dict[str, list[Use]] = defaultdict(list)
    for path in MODULES:
        if path.relative_to(ROOT / "bot").parts[0] == part:
            found[part] += in_module(path)
    for path in SCRIPTS:
        if path.relative_to(ROOT / "bot").parts[0] == part:
            found[part] += in_script(path)
    return found[part]


def faults(use: Use) -> list[str]:
    """The first text for which a pattern costs more than it may, for each way to use it."""
    found: list[str] = []
    for call in use.calls():
        for document in hostile(use.pattern):
            if (growth := grows(call, document, is_even=True)) > MOST_GROWTH:
                found.append(f"{use.where}: {use.pattern.pattern!r} x{growth:.1f} on {document(24)!r}")
                break
    return found


@pytest.mark.parametrize("part", PARTS)
def test_no_pattern_costs_more_than_linear_time(part: str) -> None:
    """Kind: catastrophic backtracking. One table row froze the process, and again after each restart."""
    assert not [fault for use in patterns(part) for fault in faults(use)]


@pytest.mark.parametrize(
    ("pattern", "way"),
    [
        (r"[ \t]*\|?(?:[ \t]*:?-+:?[ \t]*\|?)+[ \t]*", "fullmatch"),  # exponential: |----…----|x
        (r" {0,3}\|? *:?-+:? *(?:\| *:?-+:? *)*\|? *", "fullmatch"),
        (r"[ ]{0,3}#{4,6}[ \t]+(?P<title>.*?)[ \t]*#*", "fullmatch"),
        (r"[ \t]*<@U1(\|[^<>]*)?>", "sub"),
        (r"^(\s*)[-*] ", "sub"),
        (r"\[([^\]\n]+)\]\((https?://[^)\s]+)\)", "sub"),
        (r"(?<![`\\])(?P<ticks>`+)(?!`)[^\n]*?(?<!`)(?P=ticks)(?!`)", "finditer"),
        (r"\[[^\[\]\n]*(?:\]\((?:[^()\s]|\([^()\s]*\))*\)|(?:\]\(\S*|\])?\Z)", "finditer"),
        (r"(a|aa)+b", "match"),
        (r"\s+$", "split"),
        (rb"(a*)*b", "match"),
    ],
)
def test_a_pattern_that_costs_more_is_found(pattern: str | bytes, way: str) -> None:
    """The test above can fail: these stood in the bot, or are the textbook's."""
    flags = re.MULTILINE if pattern == r"^(\s*)[-*] " else 0
    assert faults(Use("here", re.compile(pattern, flags), frozenset({way})))


def test_no_pattern_hides_from_the_collector() -> None:
    found: list[str] = []
    for path in MODULES:
        source = path.read_text()
        called = re.findall(
            r"(?<![\w.])re\.(?:compile|match|search|fullmatch|subn?|split|findall|finditer)\(", source
        )
        faults = hidden_uses(source)
        if len(calls(ast.parse(source))) != len(called):
            faults.append(f"{len(called)} calls")
        found += [f"{path.relative_to(ROOT)}: {each}" for each in faults]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "from re import compile",
        "import re as patterns",
        "import regex",
        "import re\nmake = re.compile",
        "import re\nre.template('a')",
        "import re\nlist(map(re.escape, map(re.compile, ())))",
    ],
)
def test_a_use_that_the_collector_cannot_read_is_reported(source: str) -> None:
    assert hidden_uses(source)


def test_the_collector_reads_patterns_wherever_they_stand() -> None:
    source = """
import re
ONE = re.compile("one", re.DOTALL)
def used(text):
    ONE.fullmatch(text)
    return re.sub(rf"{re.escape(text)}two", "", text, flags=re.MULTILINE)
class Held:
    three = (re.compile(pattern=r"three"), re.split("four", ""))
"""
    found = {use.pattern.pattern: use for use in in_source(source, {"re": re})}
    assert found.keys() == {"one", "xtwo", "three", "four"}
    assert found["one"].ways == {"fullmatch"}
    assert found["one"].pattern.flags & re.DOTALL
    assert found["xtwo"].ways == {"sub"}
    assert found["xtwo"].pattern.flags & re.MULTILINE
    assert found["three"].ways == WAYS


def test_the_collector_reads_the_patterns_of_a_script() -> None:
    source = (
        "const a = /x\\/[/\"]+/y; // it's /no/\nconst b = 4 / 2 / 1; f('/no/', `/no/`, text.split(/<b>/i));\n"
    )
    assert list(literals(source)) == [('x\\/[/"]+', "y", 1), ("<b>", "i", 2)]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_a_pattern_that_the_collector_cannot_read(path: Path) -> None:
    assert "RegExp" not in path.read_text()


# --- loops over text ------------------------------------------------------------------------------------


def stream_to_slack(text: str) -> str:
    """An answer in tokens of four characters, of which some are taken now and then."""
    renderer = SlackRenderer()
    for number, at in enumerate(range(0, len(text), 4)):
        renderer.add(Text(text[at : at + 4]))
        if renderer.items_size and number % 50 == 0:
            renderer.take()
    renderer.finish()
    return renderer.text


def stream_to_discord(text: str) -> list[str]:
    """An answer in tokens of four characters, shown as often as its messages are edited."""
    renderer = DiscordRenderer()
    for number, at in enumerate(range(0, len(text), 4)):
        renderer.add(Text(text[at : at + 4]))
        if number % 100 == 0:
            renderer.messages()
    renderer.finish()
    return renderer.messages()


def event_of_slack(text: str) -> object:
    event = {"type": "app_mention", "user": "U2", "channel": "C1", "ts": "1.2", "text": text}
    return parse_event({"team_id": "T1", "event": event}, "U1")


@cache
def client() -> discord.Client:
    return discord.Client(intents=discord.Intents.none())


def event_of_discord(text: str) -> object:
    """A reply: its own words, and those that it replies to, in a text, an embed and a sticker's name."""
    payload = sample("reply_ping")["payload"]
    program = {**payload["author"], "bot": True}
    sticker = {"id": "1", "name": text, "format_type": 1}
    embed = {"type": "rich", "title": text, "description": text, "fields": [{"name": text, "value": text}]}
    said = {"content": text, "embeds": [embed], "sticker_items": [sticker], "author": program}
    replied = payload["referenced_message"] | said
    message = payload | {"content": text, "referenced_message": replied}
    return read_message(
        client(), message, lambda heard, lost: events.parse_message(heard, ME, unreadable=lost)
    )


def arguments_of_a_call(text: str) -> None:
    for whole in (text, f'{{"query": "{text}'):
        with suppress(Unreadable):
            read_arguments(whole)


def decision_in_words(text: str) -> None:
    for whole in (text, f"approve {text}", f"approve 7f3a9c21{text}"):
        if order := parse_decision(whole):
            order.strip_confirmation("4711")
            order.reason  # noqa: B018 - it is worked out


READERS: dict[str, Callable[[str], object]] = {
    "pages of Slack": paginate,
    "a stream to Slack": stream_to_slack,
    "answers to commands of Slack": mrkdwn,
    "an event of Slack": event_of_slack,
    "an event of Discord": event_of_discord,
    "arguments of a call": arguments_of_a_call,
    "a decision in words": decision_in_words,
    "data for the model": lambda text: (mark(text, text), indent(text), label(text)),
    "the kind of a file": lambda text: kind_of(text.encode()),
    "pages of Discord": split,
    "a stream to Discord": stream_to_discord,
    "the name of a thread": title_of,
    "words that are remembered": indexed_terms,
    "facts that are much alike": lambda text: _is_reworded(text, text[: len(text) // 2] + "x" + text[::-1]),
}

PIECES = [
    *"ab \n\t\r|`~*_[]()<>#-+.:!&\\1\u00a0\u200b\u0301\u2028好🙂",
    *(
        "```",
        "~~~",
        "**",
        "__",
        "||",
        "- ",
        "1. ",
        "> ",
        "#### ",
        "](",
        "[a](",
        "https://a",
        "<@U1>",
        "<br>",
        "<!",
    ),
    *(
        "| a | b |\n",
        "|---|---|\n",
        "a | b\n---|---\n",
        "```\n",
        "> ```\n",
        "  - a\n",
        "\n\n",
        "word ",
        "`a` ",
        "**a ",
    ),
]
units = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)


@st.composite
def documents(draw: st.DrawFn) -> Callable[[int], str]:
    """A document of any length: what is repeated, one thing or two, between what is not."""
    head, tail = draw(st.sampled_from(["", *PIECES])), draw(st.sampled_from(["", *PIECES]))
    repeated = draw(st.lists(units, min_size=1, max_size=2))
    grow_runs = draw(st.booleans())

    def document(length: int) -> str:
        middle = "".join(unit * (length // len(unit) // len(repeated)) for unit in repeated)
        if grow_runs:  # runs of each length, as in ` `` ``` ````
            most = int((2 * length) ** 0.5)
            middle = " ".join(repeated[0][0] * size for size in range(1, most))
        return f"{head}{middle}{tail}"

    return document


@pytest.mark.parametrize("reader", READERS)
def test_no_text_costs_more_than_linear_time(reader: str) -> None:
    """Kind: a loop within a loop over the same text. A heading with 20,000 blanks took 15 seconds."""

    @settings(max_examples=8, deadline=None)
    @given(documents())
    def check(document: Callable[[int], str]) -> None:
        assert grows(READERS[reader], document, floor=0.15) <= MOST_GROWTH

    check()


@pytest.mark.parametrize(
    ("head", "unit", "tail"),
    [
        ("| a | b |\n|", "-", "|x"),
        ("| a | b |\n|", "---+", "|x"),
        ("| a |\n| ", "-", " Summary |\n"),
        ("| a\n-", " ", "x"),
        ("a", "\t", "b"),
        ("#### x", " ", "y"),
        ("", "#", ""),
        ("", "[", ""),
        ("", "\n", ""),
        ("- ", "\n", "x"),
        ("|" + "a|" * 9_000 + "\n|" + "-|" * 9_000 + "\n", "|\n", ""),
        ("| a | b |\n|---|---|\n| ", "x", " | y |\n"),
        ("| a | b |\n|---|---|\n| ", "x<br>", " | y |\n"),
        ("> ```\n", "> x\n", ""),
        ("a", "\u0301\u0316", ""),  # marks that Unicode sorts, one by one
        ("a", "\u0f73", ""),
        ("a", "\u0f73\u3099", ""),
    ],
)
def test_the_texts_of_known_attacks_cost_linear_time(head: str, unit: str, tail: str) -> None:
    def document(length: int) -> str:
        return head + unit * (max(length - len(head), 0) // len(unit)) + tail

    for name, reader in READERS.items():
        assert grows(reader, document, floor=0.3) <= MOST_GROWTH, name


def test_a_loop_that_costs_more_is_found() -> None:
    def copies(text: str) -> int:
        return sum(text[at:].count("y") for at in range(len(text)))

    assert grows(copies, lambda length: "x" * length) > MOST_GROWTH
    assert grows(copies, lambda length: "x" * length, is_even=True) > MOST_GROWTH
    assert grows(lambda text: copies(text[12_000:]), lambda length: "x" * length) > MOST_GROWTH
