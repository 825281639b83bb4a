"""The page's files: what no reading of untrusted text may do, and that nothing comes from elsewhere."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bot.chat.text import duration
from tests.support.growth import MOST_GROWTH

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(not NODE, reason="the page's script is run by node")
SCRIPT = Path(__file__).parent / "support" / "page.mjs"
PAGE = Path(__file__).parent.parent / "bot" / "http" / "page"
VENDOR = PAGE / "vendor"
SCRIPTS = sorted(PAGE.glob("*.js"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_turns_text_into_markup_or_code(script: Path) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|eval\(|new Function"
    assert not re.findall(forbidden, script.read_text())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_import_only_their_neighbours(script: Path) -> None:
    imported = re.findall(r'from "([^"]+)"', script.read_text())
    assert all(name.startswith("./") and (PAGE / name).is_file() for name in imported), imported


def test_the_page_has_no_inline_script_or_style_that_its_policy_would_block() -> None:
    page = (PAGE / "index.html").read_text()
    assert re.findall(r"<script[^>]*>", page) == ['<script type="module" src="/page/app.js">']
    assert not re.findall(r"<style|\sstyle=|\son\w+=|javascript:", page)


@pytest.mark.parametrize(
    "path", sorted(path for path in PAGE.iterdir() if path.is_file()), ids=lambda path: path.name
)
def test_nothing_is_loaded_from_another_host(path: Path) -> None:
    addresses = set(re.findall(r"(?:https?:)?//[\w-]+\.[\w.]+", path.read_text()))
    assert addresses <= {"http://www.w3.org"}  # the name of a namespace, not a place


def test_the_libraries_are_those_that_are_named_with_their_versions_and_licences() -> None:
    """`./dev vendor` writes them; none reaches another host, and each package has its licence beside it."""
    named = json.loads((VENDOR / "package.json").read_text())
    licences = {f"{name.strip('@').replace('/', '-')}.LICENSE" for name in named["dependencies"]}
    found = {path.name for path in VENDOR.iterdir()}
    assert found == {"package.json", *named["files"], *licences}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in named["dependencies"].values())
    code = {name: (VENDOR / name).read_text() for name in named["files"]}
    loads = r"\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|\beval\(|new Function|innerHTML\s*=|import\("
    # the core can also colour elements by itself, which the page does not ask for
    assert {name for name, text in code.items() if re.search(loads, text)} <= {"highlight-core.js"}
    assert all("//# sourceMappingURL" not in text for text in code.values())


def test_a_long_line_of_a_request_is_wrapped_and_hides_no_end() -> None:
    """Blind approval: other code scrolls sideways; what is to be approved has to be seen whole."""
    style = (PAGE / "style.css").read_text()
    (rule,) = re.findall(r"\.approval \.code pre \{([^}]*)\}", style)
    assert "white-space: pre-wrap" in rule
    assert "overflow-wrap: anywhere" in rule
    assert "max-height" not in rule
    assert '{ class: "approval markdown"' in (PAGE / "view.js").read_text()


def render(sources: list[Any], *options: str) -> list[Any]:
    """Return the rendering of each source by the page."""
    command = [
        NODE or "node",
        str(Path(__file__).parent / "support" / "page.mjs"),
        str(PAGE / "markdown.js"),
        *options,
    ]
    done = subprocess.run(
        command, input=json.dumps(sources), capture_output=True, text=True, check=True, timeout=50
    )
    return list(json.loads(done.stdout))


VALUES = [
    "2*3*4",
    "stg_orders__daily",
    "__init__",
    "**a**",
    "~~a~~",
    "`a`",
    "[a](b)",
    "<b>",
    "\\*",
    "&lt;",
    "a_b_",
]


@needs_node
def test_the_cells_of_a_table_are_data() -> None:
    """Kind: values are formatted. `2*3*4` was shown as `234`."""
    (table,) = render(["| a |\n|---|\n" + "".join(f"| {value} |\n" for value in VALUES)])
    assert table["text"] == "a" + "".join(VALUES)
    assert set(table["tags"]) <= {"div", "table", "thead", "tbody", "tr", "th", "td"}


@needs_node
def test_rows_are_sorted_as_numbers_before_texts_and_missing_values_come_last() -> None:
    script = "const {sortRows} = await import(process.argv[1]); const rows = [[10], [null], ['x'], [9]];"
    shown = "console.log(JSON.stringify([sortRows(rows, 0, false), sortRows(rows, 0, true)]));"
    command = [NODE or "node", "--input-type=module", "-e", script + shown, (PAGE / "table.js").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50)
    assert json.loads(done.stdout) == [[[9], [10], ["x"], [None]], [["x"], [10], [9], [None]]]


@needs_node
def test_an_address_in_a_cell_can_be_followed_and_a_tag_of_a_line_break_breaks_the_line() -> None:
    (table,) = render(["| a |\n|---|\n| see https://a.b/c<br>(https://a.b/d) |"])
    assert table["text"] == "asee https://a.b/c\n(https://a.b/d)"
    assert table["tags"][-3:] == ["a", "br", "a"]


@needs_node
def test_what_the_page_shows_of_headings_and_code() -> None:
    sources = [
        "# C#",
        "# a ##",
        "~~~py x\n`a`\n~~~",
        "`` a`b `` ```c``",
        r"\`a`",
        "https://[https://[",
        "- a\n  - b",
    ]
    texts = ["C#", "a", "pyCopy`a`", "a`b ```c``", "`a`", "https://[https://[", "ab"]
    assert [each["text"] for each in render(sources)] == texts


DURATIONS = {
    0.0: "0.1 s",
    0.412: "0.4 s",
    9.96: "10 s",
    59.6: "1 min",
    123.0: "2 min 3 s",
    3_900.0: "1 h 5 min",
    1e9: "99 h 59 min",
}


@pytest.mark.parametrize("seconds", DURATIONS)
def test_a_duration_is_told_in_words(seconds: float) -> None:
    assert duration(seconds) == DURATIONS[seconds]


@needs_node
def test_the_page_tells_rows_and_durations_as_the_bot_does_elsewhere() -> None:
    """One format, in two languages."""
    expected = [*DURATIONS.values(), "1,200 rows, 0.4 s", "1 row", "0 rows", "", "", "stopped", "started"]
    script = f"""
        globalThis.document = {{}};
        const {{ duration, figures, shownState }} = await import({(PAGE / "steps.js").as_uri()!r});
        const known = [{{ rows: 1200, seconds: 0.4 }}, {{ rows: 1 }}, {{ rows: 0 }}, {{}}, {{ rows: "<b>" }}];
        const step = {{ type: "tool", state: "started" }};
        const states = ["failed", "pending"].map((answer) => shownState(step, answer).state);
        console.log(JSON.stringify([...{list(DURATIONS)}.map(duration), ...known.map(figures), ...states]));
    """
    command = [NODE or "node", "--input-type=module", "--eval", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50)
    assert json.loads(done.stdout) == expected


@needs_node
def test_no_text_costs_the_page_more_than_linear_time() -> None:
    """Kind: a pattern or a loop that goes back. `# x`, 30,000 blanks and `y` took 11 seconds."""
    hostile = [
        *(("# x", blank, "y") for blank in (" ", "\t", "#", "# ")),
        *(("https://a", tail, "") for tail in (")", ".", "*", "[https://", "xhttps://")),
        *(
            ("", unit, "")
            for unit in ("https://[", "<https://a", "[", "[a](", "![a](b", "](", "**a ", "*a* ", "_", "~~a")
        ),
        *(
            ("", unit, "x")
            for unit in ("- ", "> ", "1. ", "```\n", "~~~`", "\n", "a\n", "- a\n", "  - a\n\n", "|\n")
        ),
        ("| a |\n|", "-", "|x"),
        ("| a |\n|", "-|", "x"),
        ("|" + "a|" * 9_000 + "\n|" + "-|" * 9_000 + "\n", "|\n", ""),
        ("", "".join("`" * size + " " for size in range(1, 280)), ""),
        ("` ", "a", " `"),
        ("*", "a *b* ", "*"),
    ]
    faults = [
        (text, growth)
        for text, growth in zip(hostile, render(hostile, "--growth"), strict=True)
        if growth > MOST_GROWTH
    ]
    assert not faults


@needs_node
def test_a_text_of_any_length_is_shown() -> None:
    """Kind: a limit of the language. An address with 30,000 brackets ended the page with a RangeError."""
    sources = [
        "https://a" + ")" * 120_000,
        "a\n" * 120_000,
        "| a |\n|-|\n" + "| b |\n" * 60_000,
        "> " * 5_000 + "a",
    ]
    assert all(each["text"] for each in render(sources))


CONVERSATION = Path(__file__).parent / "support" / "page_conversation.mjs"
DONE = ["done", {"status": "success", "response": "Hi", "thread_id": "t"}]
GIVEN = {"events": [["text", {"text": "H"}], ["text", {"text": "i"}], DONE]}


def converse(requests: list[Any], *steps: list[Any]) -> dict[str, Any]:
    """Return what the page has after these steps, if its requests are answered in this way."""
    command = [NODE or "node", str(CONVERSATION), str(PAGE / "conversation.js")]
    given = json.dumps({"requests": requests, "steps": steps})
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=50)
    return dict(json.loads(done.stdout))


def transcript(state: str, response: str) -> dict[str, Any]:
    """Return a conversation of the server with one question."""
    answer = {"role": "agent", "state": state, "answer": "", "can_be_rated": False, "error": ""}
    parts = [{"type": "text", "text": response}] if response else []
    asked = {"role": "user", "id": "1", "text": "hello", "files": []}
    messages = [asked, {**answer, "parts": parts}]
    return {"body": {"title": "hello", "is_running": state == "running", "messages": messages}, "etag": "e"}


@needs_node
def test_a_lost_answer_is_asked_for_again_with_the_same_key_until_it_comes() -> None:
    """Restarts of any length; the message is in the outbox until then, and not afterwards."""
    cut = {"events": [["text", {"text": "H"}]]}
    away = {"status": 503, "body": {"message": "not now"}}
    requests = [cut, *[None] * 8, away, GIVEN, transcript("complete", "Hi")]
    found = converse(requests, ["send", "hello"])
    asked = [each for each in found["sent"] if each["path"] == "/chat"]
    assert len(asked) == 11
    assert len({each["key"] for each in asked}) == 1
    assert found["messages"][1]["state"] == "done"
    assert found["messages"][1]["parts"] == [{"type": "text", "text": "Hi"}]
    assert found["outbox"] == 0


@needs_node
def test_a_failed_answer_can_be_tried_again_as_a_new_question() -> None:
    """A final failure comes again under the same key."""
    failed = {"events": [["error", {"status": "error", "message": "No.", "code": 502, "final": True}]]}
    found = converse([failed, GIVEN, transcript("complete", "Hi")], ["send", "hello"], ["retry"])
    keys = [each["key"] for each in found["sent"] if each["path"] == "/chat"]
    assert len(set(keys)) == 2
    assert found["outbox"] == 0


@needs_node
def test_an_answer_that_runs_elsewhere_is_followed_from_the_server() -> None:
    requests = [transcript("running", ""), GIVEN, transcript("complete", "Hi")]
    found = converse(requests, ["load"])
    assert [each["path"] for each in found["sent"]] == ["/threads/t", "/threads/t/answer", "/threads/t"]
    assert found["messages"][1]["state"] == "done"


WELCOME = {
    "is_demonstration": True,
    "suggestions": [{"text": f"Question {number}", "shows": "a table", "file": None} for number in range(5)],
    "connections": [
        {"name": "model", "title": "Language model", "is_connected": False, "advice": "set OPENAI_API_KEY"},
        {"name": "slack", "title": "Slack", "is_connected": True, "advice": "set SLACK_BOT_TOKEN"},
    ],
}


@needs_node
def test_the_tour_leads_through_its_questions_to_what_can_be_connected() -> None:
    """It says that it is a demonstration, and disappears while an answer runs."""
    welcome = json.loads(json.dumps(WELCOME))
    welcome["suggestions"][4]["file"] = {"name": "notes.txt", "text": "x"}
    script = str(Path(__file__).parent / "support" / "tour.mjs")
    command = [NODE or "node", script, str(PAGE / "tour.js")]
    done = subprocess.run(
        command, input=json.dumps(welcome), capture_output=True, text=True, check=True, timeout=50
    )
    shown = json.loads(done.stdout)
    assert "demonstration without a language model" in shown["first"]
    assert shown["running"] == ""
    assert [f"Question {number}" in shown["next"] for number in range(5)] == [False, True, True, True, False]
    assert shown["asked"] == [[f"Question {number}", ["notes.txt"] * (number == 4)] for number in range(5)]
    assert "OPENAI_API_KEY" in shown["last"]
    assert "SLACK_BOT_TOKEN" not in shown["last"]
    assert shown["again"].count("✓ seen") == 5


def test_the_page_has_the_products_name() -> None:
    page = (PAGE / "index.html").read_text()
    assert "<title>Threadmate</title>" in page
    assert re.search(r'class="brand">.*> Threadmate</div>', page)
