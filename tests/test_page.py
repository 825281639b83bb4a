"""The page's files: what no reading of untrusted text may do, and that nothing comes from elsewhere."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "bot" / "http" / "page"
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


@pytest.mark.parametrize("path", sorted(PAGE.iterdir()), ids=lambda path: path.name)
def test_nothing_is_loaded_from_another_host(path: Path) -> None:
    addresses = set(re.findall(r"(?:https?:)?//[\w-]+\.[\w.]+", path.read_text()))
    assert addresses <= {"http://www.w3.org"}  # the name of a namespace, not a place


def test_a_long_line_of_a_request_is_wrapped_and_hides_no_end() -> None:
    """Blind approval: other code scrolls sideways; what is to be approved has to be seen whole."""
    style = (PAGE / "style.css").read_text()
    (rule,) = re.findall(r"\.approval \.code pre \{([^}]*)\}", style)
    assert "white-space: pre-wrap" in rule
    assert "overflow-wrap: anywhere" in rule
    assert "max-height" not in rule
    assert '{ class: "approval markdown"' in (PAGE / "view.js").read_text()
