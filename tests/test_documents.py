"""Documents name what is there: files, headings, commands, settings, tests, rooms and their imports."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path

import pytest

from bot.main import SETTINGS
from tests.support.bot import ROOT
from tests.support.rooms import FILES, imports_of, module_of, room_of

TESTS = ROOT / "tests"
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
"""Documents about the bot as it is; the changelog also names what is gone."""

NOT_SETTINGS = frozenset(
    {
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_CERT", "REQUESTS_CA_BUNDLE"),  # read by libraries
        *("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OLLAMA_CONTEXT_LENGTH"),
        *("NEED_MORE", "OPEN_TOOLS", "READ_TOOLS"),  # constants
        *("TEST_EVENT_LOOP", "TEST_SLACK_MODE"),  # read by the tests
    }
)


def text_of(path: Path) -> str:
    """Return a document without its comments."""
    return re.sub(r"<!--.*?-->", "", path.read_text(), flags=re.DOTALL)


def named(path: Path) -> list[str]:
    """Return what a document sets in code, inside sentences and tables."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text_of(path), flags=re.DOTALL))


def named_tests(document: str) -> Iterator[tuple[str, str]]:
    """Yield the file and the function (or nothing) of each test that a document names."""
    file = ""
    for reference in re.findall(r"`((?:test_\w+)?(?:::test_\w+)?)`", document):
        if not reference:
            continue
        name, _, function = reference.partition("::")
        file = name or file
        yield file, function


def test_every_promise_of_the_threat_model_names_a_test_that_exists() -> None:
    """A promise whose test was renamed or removed would be believed all the same."""
    tests = list(named_tests((ROOT / "docs/security.md").read_text()))
    assert len(tests) > 30
    for file, function in tests:
        path = TESTS / f"{file}.py"
        assert path.exists(), file
        if function:
            assert re.search(rf"^(async )?def {function}\(", path.read_text(), re.MULTILINE), (file, function)


@pytest.mark.parametrize("path", [*GUIDES, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_every_link_between_documents_leads_somewhere(path: Path) -> None:
    """Files, and headings within them."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]*)\)", text_of(path)):
        name, _, heading = target.partition("#")
        there = (path.parent / name) if name else path
        assert there.exists(), target
        if heading and there.suffix == ".md":
            titles = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}
            assert heading in anchors, target


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_no_document_names_a_command_that_a_python_without_the_packages_cannot_run(path: Path) -> None:
    """Fault: `python -m bot inbox` as documented was a ModuleNotFoundError. `./dev run` has the packages."""
    assert not re.findall(r"python -m bot (?!settings\b)\w+", path.read_text())


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(path: Path) -> None:
    """In sentences, tables and blocks of code alike."""
    files = re.findall(r"(?<![\w./-])(?:bot|tests|docs|benchmarks)/[\w./-]*", text_of(path))
    assert [name for name in files if not (ROOT / name.rstrip(".")).exists()] == []


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_every_command_that_a_document_names_exists(path: Path) -> None:
    """Tasks of `./dev`, commands of the bot, slash commands and modules that are run."""
    text = text_of(path)
    tasks = set(re.findall(r"^\./dev (\w+)", (ROOT / "dev").read_text(), re.MULTILINE))
    assert set(re.findall(r"\./dev (\w+)", text)) <= tasks
    parser = (ROOT / "bot/main.py").read_text()
    commands = set(re.findall(r'add_parser\("(\w+)"', parser))
    assert set(re.findall(r"\./dev run (\w+)`?", text)) <= commands
    manifest = (ROOT / "manifest.yml").read_text()
    slash = set(re.findall(r"command: (/agent-\w+)", manifest))
    assert set(re.findall(r"/agent-\w+", text)) <= slash
    modules = re.findall(r"-m (bot|tests|benchmarks)((?:\.\w+)*)", text)
    assert [m for m in modules if not list(ROOT.glob("/".join((m[0] + m[1]).split(".")) + "*"))] == []


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_every_setting_that_a_document_names_exists(path: Path) -> None:
    """`BUDGET_…` stands for all that begin so."""
    settings = {name.upper() for name in SETTINGS.model_fields}
    for name in named(path):
        if not (variable := re.fullmatch(r"([A-Z][A-Z0-9]*_[A-Z0-9_]*)(…?)(?:=.*| - 1)?", name)):
            continue
        stem, is_prefix = variable.groups()
        is_known = any(each.startswith(stem) for each in settings) if is_prefix else stem in settings
        assert is_known or stem in NOT_SETTINGS, name


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_every_test_that_a_document_names_exists(path: Path) -> None:
    """By its file, or by its function alone."""
    names = set(re.findall(r"\btest_\w+", " ".join(named(path))))
    defined = {
        name for file in TESTS.rglob("*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert names <= defined | {file.stem for file in TESTS.glob("test_*.py")}


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_name_of_the_code_in_the_guides_for_developers_exists(name: str) -> None:
    """`Inbox.put` is looked for as `put`: a rename that forgets these pages fails here."""
    sources = (*FILES, *TESTS.rglob("*.py"))
    known = {word for path in sources for word in re.findall(r"\w+", path.read_text())}
    known |= {path.name for path in sources} | {"is_", "has_", "manifest.yml", "pyproject.toml"}
    names = [span for span in named(ROOT / name) if re.fullmatch(r"[A-Za-z_][\w.]*", span)]
    assert len(names) > 10
    assert [each for each in names if each not in known and each.rpartition(".")[2] not in known] == []


@dataclass(frozen=True, slots=True)
class Picture:
    """Arrows of a Mermaid flowchart by name, and the members of its frames."""

    arrows: set[tuple[str, str]] = field(default_factory=set)
    frames: dict[str, set[str]] = field(default_factory=dict)

    @property
    def rooms(self) -> set[str]:
        """Everything that is drawn, except frames."""
        ends = {end for arrow in self.arrows for end in arrow}
        return ends.union(*self.frames.values()) - self.frames.keys()

    def members(self, name: str) -> set[str]:
        """Return what an end of an arrow stands for."""
        return self.frames.get(name, {name})

    def implied(self, arrow: tuple[str, str]) -> set[tuple[str, str]]:
        """Return all imports that an arrow stands for."""
        return set(product(self.members(arrow[0]), self.members(arrow[1])))


def picture_of(mermaid: str) -> Picture:
    """Read the part of Mermaid that the page uses: `a --> b & c`, chains of arrows, and `subgraph`."""
    picture, members = Picture(), set[str]()
    for line in map(str.strip, mermaid.splitlines()):
        if frame := re.match(r"subgraph (\w+)", line):
            members = picture.frames.setdefault(frame[1], set())
        elif line == "end":
            members = set()
        elif line and not line.startswith("flowchart"):
            ends = [set(re.findall(r"\w+", end)) for end in line.split("-->")]
            members |= set().union(*ends)
            picture.arrows.update(arrow for pair in pairwise(ends) for arrow in product(*pair))
    return picture


def imports_between_rooms() -> set[tuple[str, str]]:
    """Return who imports whom, by files and folders at the root of `bot/`."""
    found = set()
    for path in FILES:
        room = _root(module_of(path))
        seen = {_root(name) for name in imports_of(path.read_text()) if name.split(".")[0] == "bot"}
        found |= {(room, each) for each in seen - {room}}
    return {pair for pair in found if not any(name.startswith("__") for name in pair)}


def _root(module: str) -> str:
    return room_of(module).split(".")[0]


def picture_faults(picture: Picture, imports: set[tuple[str, str]]) -> list[str]:
    """Compare a picture with the imports; the base and the composition root need no arrows."""
    base = picture.frames["base"]
    drawn = set().union(*map(picture.implied, picture.arrows))
    needed = {(a, b) for a, b in imports if b not in base and a != "composition"}
    rooms = {end for pair in imports for end in pair}
    return [
        *(f"draw {a} --> {b}" for a, b in sorted(needed - drawn)),
        *(f"remove {a} --> {b}" for a, b in sorted(picture.arrows) if not picture.implied((a, b)) & imports),
        *(f"base imports {b}, which is outside" for a, b in sorted(imports) if a in base and b not in base),
        *(f"draw or remove the room {name}" for name in sorted(rooms ^ picture.rooms)),
    ]


def test_the_picture_of_the_architecture_shows_the_imports() -> None:
    """Each arrow is an import, and each import between rooms is an arrow or follows from the page's rules."""
    (drawing,) = re.findall(r"```mermaid\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL)
    assert picture_faults(picture_of(drawing), imports_between_rooms()) == []


@pytest.mark.parametrize(
    ("drawing", "fault"),
    [
        ("a --> b", "draw b --> c"),
        ("a --> b --> c --> a", "remove c --> a"),
        ("a --> b --> c & d", "draw or remove the room d"),
        ("a --> b\n subgraph base\n a & chat\n end\n b --> c", "base imports b, which is outside"),
    ],
)
def test_a_picture_that_lies_is_reported(drawing: str, fault: str) -> None:
    """The comparison sees a missing arrow, one too many, an unknown room and a base with imports."""
    picture = picture_of(f"flowchart TD\n subgraph base\n chat\n end\n {drawing}")
    assert fault in picture_faults(picture, {("a", "b"), ("b", "c"), ("b", "chat")})
