"""`bot eval` as it is typed: files and options in, a report and an exit code out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.composition.evaluation.evaluation import Report, evaluate
from bot.composition.evaluation.report import describe
from bot.composition.evaluation.results import Results, check_writable
from bot.composition.evaluation.scenario_file import SHIPPED, find_files, read_scenarios
from bot.config import ConfigError, Settings
from bot.storage.embedded import Servers


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Arguments of the command. `at_least` is in percent."""

    files: Sequence[Path] = ()
    runs: int = 1
    judge: str | None = None
    json: Path | None = None
    compare: Path | None = None
    at_least: float | None = None


async def run(
    settings: Settings, options: Options, report: Report, servers: Servers | None = None
) -> tuple[str, bool]:
    """Evaluate the scenarios; return the report, and whether the score is high enough and nothing has failed.

    Raises `ConfigError` and `BotError` with sentences for the operator.
    """
    before = Results.read(options.compare) if options.compare else None
    if options.json:
        check_writable(options.json)
    read = read_scenarios(find_files(options.files or [SHIPPED]))
    scenarios = {_name(path): each for path, each in read.items()}
    results = await evaluate(
        settings, scenarios, runs=options.runs, judge=options.judge, servers=servers, report=report
    )
    text = describe(results, before)
    is_enough = options.at_least is None or 100 * (results.score or 0.0) >= options.at_least
    is_enough = is_enough and not results.problems
    if options.json:
        try:
            results.write(options.json)
        except ConfigError as error:  # the report was paid for
            return f"{text}\n\n{error}", False
    return text, is_enough


def _name(path: Path) -> str:
    """Return the name of a scenario in the results: only a shipped one has no slash in it."""
    if path.parent.resolve() == SHIPPED.resolve():
        return path.name
    return str(path) if path.name != str(path) else f"./{path}"
