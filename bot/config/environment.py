"""Names in the environment and in `.env`: lines that cannot be read, and settings that are misspelled."""

import difflib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import Binding, parse_stream
from pydantic import BaseModel

ENV_FILE = Path(".env")
"""Read from the working directory; the environment has precedence."""

_SIMILARITY = 0.82
_MOST_CHARS = 64


class ConfigError(Exception):
    """One or more variables are wrong; `problems` has a sentence for each, never a value of a secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A variable that is not a setting; `meant` is the setting that it resembles, or empty."""

    name: str
    meant: str
    source: str

    @property
    def hint(self) -> str:
        """Return advice for the operator, as the end of a sentence."""
        return f"did you mean {self.meant}?" if self.meant else "it is ignored"


def check_env_file(path: Path = ENV_FILE) -> None:
    """Raise `ConfigError` with the number of each line that cannot be read."""
    lines = [each.original.line for each in _bindings(path) if each.error]
    if lines:
        raise ConfigError(
            [f"{path}, line {line}: this cannot be read; write NAME=value, or # before it" for line in lines]
        )


def unknown_names(model: type[BaseModel], path: Path = ENV_FILE) -> list[UnknownName]:
    """Return the variables that are not fields of `model`, the settings.

    In `.env` all of them, since nothing but settings is expected there; in the environment those that
    resemble a setting which is not set.
    """
    settings = {name.upper() for name in model.model_fields}
    try:
        written = {each.key for each in _bindings(path) if each.key}
    except ConfigError:  # reported by `check_env_file`
        written = set()
    present = {name.upper() for name in (*written, *os.environ)}
    missing = sorted(settings - present)
    in_file = [UnknownName(name, _meant(name, missing), str(path)) for name in written]
    others = os.environ.keys() - written
    elsewhere = [UnknownName(name, _meant(name, missing), "environment") for name in others]
    found = [*in_file, *(each for each in elsewhere if each.meant)]
    return sorted((each for each in found if each.name.upper() not in settings), key=lambda each: each.name)


def _meant(name: str, settings: Sequence[str]) -> str:
    """Return the setting that a person meant by `name`; empty when none is like it."""
    upper = name.upper()[:_MOST_CHARS]
    plain = {setting.replace("_", ""): setting for setting in settings}
    if same := plain.get(upper.replace("_", "")):
        return same
    return next(iter(difflib.get_close_matches(upper, settings, 1, _SIMILARITY)), "")


def _bindings(path: Path) -> Iterator[Binding]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError([f"{path}: this file cannot be read: {reason}"]) from None
    yield from parse_stream(io.StringIO(text))
