"""Results of an evaluation, as `--json` stores them and `--compare` reads them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.config import ConfigError

_MOST_BYTES = 50_000_000
_VERSION = 1


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True)


class CheckResult(_Data):
    """Result of one check; `passed` is None if nobody could judge it."""

    step: int
    check: str
    passed: bool | None
    reason: str = ""


class RunResult(_Data):
    """One run of a scenario: its checks, and the conversation that came of it.

    `problems` are answers that failed, `remarks` are services that did not work as they should.
    """

    checks: tuple[CheckResult, ...]
    conversation: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def score(self) -> float | None:
        """Return the share of checks that passed, or None if none could be judged."""
        judged = [each.passed for each in self.checks if each.passed is not None]
        return sum(judged) / len(judged) if judged else None


class ScenarioResult(_Data):
    """All runs of one scenario."""

    file: str
    title: str
    runs: tuple[RunResult, ...]

    @property
    def score(self) -> float | None:
        return mean(each.score for each in self.runs)

    def passes(self) -> dict[tuple[int, str], tuple[int, int]]:
        """Return the number of runs in which each check passed, and in which it was judged."""
        counted: dict[tuple[int, str], tuple[int, int]] = {}
        for check in (check for run in self.runs for check in run.checks if check.passed is not None):
            passed, judged = counted.get((check.step, check.check), (0, 0))
            counted[check.step, check.check] = (passed + bool(check.passed), judged + 1)
        return counted


class Results(_Data):
    """Results of all scenarios with one model. `cost` is in millionths of the currency."""

    version: Annotated[int, Field(ge=1, le=_VERSION)] = _VERSION
    model: str
    judge: str = ""
    at: str
    scenarios: tuple[ScenarioResult, ...]
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    currency: str = ""
    seconds: float = 0.0

    @property
    def score(self) -> float | None:
        """Return the mean of the scenarios' scores."""
        return mean(each.score for each in self.scenarios)

    @property
    def problems(self) -> list[str]:
        """Return the sentences of the bot about answers that failed, each once."""
        return list(
            dict.fromkeys(each for told in self.scenarios for run in told.runs for each in run.problems)
        )

    def write(self, path: Path) -> None:
        """Write a file. Raises `ConfigError`."""
        with _errors_of_writing(path):
            path.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read a file that `write` has written. Raises `ConfigError`."""
        try:
            with path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise ConfigError([f"{path}: this file cannot be read: {error.strerror}"]) from None
        try:
            if len(content) > _MOST_BYTES:
                raise ConfigError([f"{path}: this file is too large to be a result of `bot eval --json`"])
            return cls.model_validate_json(content)
        except ValidationError:
            raise ConfigError([f"{path}: this is not a result of this version's `bot eval --json`"]) from None


def check_writable(path: Path) -> None:
    """Raise `ConfigError` if a file cannot be written; leave what is there."""
    with _errors_of_writing(path):
        is_new = not (path.exists() or path.is_symlink())
        path.open("a").close()
        if is_new:
            path.unlink()


@contextmanager
def _errors_of_writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError([f"{path}: this file cannot be written: {error.strerror}"]) from None


def mean(scores: Iterator[float | None] | Sequence[float | None]) -> float | None:
    """Return the mean of the scores that are known, or None."""
    known = [each for each in scores if each is not None]
    return sum(known) / len(known) if known else None
