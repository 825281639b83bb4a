"""Scenario files: YAML without aliases, tags and deep nesting, and errors with a line and advice."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from bot.composition.evaluation.scenario import Expectation, File, Scenario, StorySettings
from bot.config import ConfigError

SHIPPED = Path(__file__).with_name("scenarios")
"""Scenarios that come with the bot."""

MOST_BYTES = 200_000
_DEEPEST = 12
_MOST_VALUES = 10_000
_MOST_FILES = 1_000
_MOST_PROBLEMS = 10

_KEYS: dict[str, type[BaseModel]] = {
    "settings": StorySettings,
    "expect": Expectation,
    "file": File,
}


class _Loader(yaml.SafeLoader):
    """YAML 1.2 as people expect it: `no` and `12:30` are texts."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML copies it before it adds to it


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("int", r"-?(?:0|[1-9][0-9]{0,17})", "-0123456789"),
    ("float", r"-?[0-9]{1,18}\.[0-9]{1,18}", "-0123456789"),
    ("null", r"|null|~", ["", "n", "~"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Return these files, and those in these folders. Raises `ConfigError`."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not inside:
            raise ConfigError([f"{path}: there is no scenario (*.yaml) in this folder"])
        found += inside
    found = list(dict.fromkeys(found))
    if len(found) > _MOST_FILES:
        raise ConfigError([f"{len(found):,} scenarios are too many: name {_MOST_FILES:,} files at most"])
    return found


def read_scenarios(paths: Sequence[Path]) -> dict[Path, Scenario]:
    """Return the scenarios by file. Raises `ConfigError` with the problems of all files."""
    scenarios: dict[Path, Scenario] = {}
    problems: list[str] = []
    for path in paths:
        try:
            scenarios[path] = parse_scenario(_read(path))
        except ScenarioError as error:
            problems += [f"{path}, {each}" for each in error.problems]
    if problems:
        raise ConfigError(problems)
    return scenarios


class ScenarioError(Exception):
    """Text that is not a scenario; `problems` has a sentence for each fault, with its line."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # reading a pipe could wait for ever
            raise ScenarioError("line 1: this is not a file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ScenarioError(f"line 1: this file cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise ScenarioError(f"line 1: a scenario has {MOST_BYTES:,} bytes at most; split the story")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ScenarioError("line 1: this file is not text in UTF-8") from None


def parse_scenario(text: str) -> Scenario:
    """Return the scenario that a text describes. Raises `ScenarioError`."""
    root, values = _compose(text)
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        problems = [_sentence(root, dict(each)) for each in error.errors(include_url=False)]
        raise ScenarioError(*list(dict.fromkeys(problems))[:_MOST_PROBLEMS]) from None


def _compose(text: str) -> tuple[yaml.Node, Any]:
    """Return the nodes of a text, which know their lines, and its values. Raises `ScenarioError`."""
    try:
        _check_events(text)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if not isinstance(root, yaml.MappingNode):
                raise ScenarioError("line 1: begin with `title:` and `story:`")
            return root, _value(loader, root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = _line(error.problem_mark or error.context_mark)
        raise ScenarioError(f"line {line}: this is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:  # a character that YAML does not have
        raise ScenarioError(f"line 1: this is not YAML: {str(error).splitlines()[0]}") from None


def _line(mark: Any) -> int:
    """Return the line of a mark, of which PyYAML has two types."""
    return int(mark.line) + 1 if mark else 1


def _check_events(text: str) -> None:
    """Refuse what no story needs: aliases, which can grow without end, tags, and deep nesting."""
    depth = 0
    for values, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        fault = ""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            fault = "anchors (&) and aliases (*) are not used; put the text in quotes"
        elif getattr(event, "tag", None):
            fault = "tags (!) are not used; put the text in quotes"
        elif depth > _DEEPEST:
            fault = "this is nested too deeply"
        elif values > _MOST_VALUES:
            fault = f"a scenario has {_MOST_VALUES:,} values at most; split the story"
        if fault:
            raise ScenarioError(f"line {_line(event.start_mark)}: {fault}")


def _value(loader: _Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, each) for each in node.value]
    if isinstance(node, yaml.MappingNode):
        found: dict[Any, Any] = {}
        for key, value in node.value:
            line = _line(key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                raise ScenarioError(f"line {line}: a key is a word")
            if key.value in found:
                raise ScenarioError(f"line {line}: {key.value} is here twice")
            found[key.value] = _value(loader, value)
        return found
    return loader.construct_object(node)


def _sentence(root: yaml.Node, error: dict[str, Any]) -> str:
    """Return one problem that pydantic has found, with its line and its step."""
    location = error["loc"]
    line, names = _find(root, location)
    step = f", step {location[1] + 1}" if len(location) > 1 and location[0] == "story" else ""
    where = f"line {line}{step}"
    name = names[-1] if names and names[-1] in location[-2:] else ""
    match error["type"]:
        case "value_error":
            return f"{where}: {error['ctx']['error']!s}"
        case "extra_forbidden":
            return f"{where}: {location[-1]} is not known here; {_advice(names)}"
        case "missing":
            return f"{where}: {location[-1]} is missing"
        case "string_type":
            return f"{where}: {name or 'this'} is a text: put it in quotes"
        case "tuple_type":
            return f"{where}: {name} is a list: begin each line with `- `"
        case "literal_error":
            return f"{where}: {name} is {error['ctx']['expected']}"
        case "string_pattern_mismatch":
            return f"{where}: {name} does not have the form {error['ctx']['pattern']}"
        case _:
            message = str(error["msg"])
            return f"{where}: {name + ': ' if name else ''}{message[:1].lower()}{message[1:]}"


def _find(root: yaml.Node, location: Sequence[str | int]) -> tuple[int, list[str]]:
    """Return the line of a value, and the keys that lead to it; parts of the location can be the model's."""
    node, line, names = root, _line(root.start_mark), []
    for part in location:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = _line(node.start_mark)
        elif isinstance(node, yaml.MappingNode) and (found := _entry(node, str(part))):
            key, node = found
            line = _line(key.start_mark)
            names.append(str(part))
    return line, names


def _entry(node: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((key, value) for key, value in node.value if key.value == name), None)


def _advice(names: Sequence[str]) -> str:
    """Return the keys that are known where an unknown one was found, which is the last of `names`."""
    above = next((each for each in reversed(names[:-1]) if each in _KEYS), None)
    if above:
        known: Iterator[str] = iter(_KEYS[above].model_fields)
    elif "story" in names:
        return "a step `bot` can have expect, a step `model` given, not_given and stalls"
    else:
        known = iter(Scenario.model_fields)
    return f"known are {', '.join(known)}"
