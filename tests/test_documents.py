"""Documents that name parts of the code name what is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bot import ROOT

TESTS = ROOT / "tests"


def named_tests(document: str) -> Iterator[tuple[str, str]]:
    """The file and the function (or nothing) of each test that a document names."""
    file = ""
    for reference in re.findall(r"`((?:test_\w+)?(?:::test_\w+)?)`", document):
        if not reference:
            continue
        name, _, function = reference.partition("::")
        file = name or file
        yield file, function


def test_every_promise_of_the_threat_model_names_a_test_that_exists() -> None:
    """A promise whose test was renamed or removed would be believed all the same."""
    named = list(named_tests((ROOT / "docs/security.md").read_text()))
    assert len(named) > 30
    for file, function in named:
        path = TESTS / f"{file}.py"
        assert path.exists(), file
        if function:
            assert re.search(rf"^(async )?def {function}\(", path.read_text(), re.MULTILINE), (file, function)


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_every_link_between_documents_leads_somewhere(path: Path) -> None:
    """Files, and headings within them."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]*)\)", path.read_text()):
        name, _, heading = target.partition("#")
        there = (path.parent / name) if name else path
        assert there.exists(), target
        if heading and there.suffix == ".md":
            titles = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}
            assert heading in anchors, target


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_no_document_names_a_command_that_a_python_without_the_packages_cannot_run(path: Path) -> None:
    """Fault: `python -m bot inbox` as documented was a ModuleNotFoundError. `./dev run` has the packages."""
    assert not re.findall(r"python -m bot (?!settings\b)\w+", path.read_text())
