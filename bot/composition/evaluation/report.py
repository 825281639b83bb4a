"""Report of an evaluation: scores, checks that failed, and what has changed since an earlier one. Pure."""

from collections.abc import Iterator

from bot.chat.text import count, is_invisible
from bot.composition.evaluation import texts
from bot.composition.evaluation.results import Results, RunResult, ScenarioResult
from bot.config.amounts import money

_MOST_PROBLEMS = 5
_MOST_REASONS = 3
"""Most of the different answers to one step that are shown."""


def describe(results: Results, before: Results | None = None) -> str:
    """Return the report of all scenarios, with a comparison if there are earlier results."""
    runs = max((len(each.runs) for each in results.scenarios), default=0)
    judge = f", judged by {results.judge}" if results.judge else ""
    lines = [
        f"{results.model}{judge}: {count(len(results.scenarios), 'scenario')}, {count(runs, 'run')} each",
        "",
    ]
    width = max((len(each.file) for each in results.scenarios), default=0)
    for scenario in results.scenarios:
        lines.append(f"{_percent(scenario.score)}  {scenario.file:{width}}  {scenario.title}")
        lines += [f"        {each}" for each in _failures(scenario)]
    lines += ["", _total(results), *_remarks(results)]
    if before:
        lines += ["", *_changes(before, results)]
    return "\n".join(map(_printable, lines))


def _printable(line: str) -> str:
    """Return a line without characters that could move a terminal's cursor: a model may write any."""
    return "".join("\ufffd" if is_invisible(each) else each for each in line)


def progress(file: str, run: RunResult) -> str:
    """Return a line about one run that has ended."""
    return f"{_percent(run.score)}  {file}  {run.seconds:.1f} s"


def _percent(score: float | None) -> str:
    return "    -" if score is None else f"{score:4.0%}".rjust(5)


def _failures(scenario: ScenarioResult) -> Iterator[str]:
    """Yield for each step the checks that did not pass in every run, and what was shown instead."""
    failed: dict[int, list[str]] = {}
    for (step, check), (passed, judged) in scenario.passes().items():
        if passed < judged:
            times = f" (passed in {passed} of {judged} runs)" if judged > 1 else ""
            failed.setdefault(step, []).append(f"{check}{times}")
    checks = [check for run in scenario.runs for check in run.checks if check.passed is False]
    for step, names in sorted(failed.items()):
        yield f"step {step}: {'; '.join(names)}"
        reasons = dict.fromkeys(each.reason for each in checks if each.step == step)
        yield from (f"    {each}" for each in list(reasons)[:_MOST_REASONS])


def _total(results: Results) -> str:
    checks = [check.passed for each in results.scenarios for run in each.runs for check in run.checks]
    passed, judged = checks.count(True), len(checks) - checks.count(None)
    spent = f"{results.input_tokens:,} tokens read, {results.output_tokens:,} written"
    cost = f", {money(results.cost, results.currency)}" if results.cost else ""
    return (
        f"{_percent(results.score)}  in total: {passed:,} of {count(judged, 'check')} passed; {spent}{cost}; "
        f"{results.seconds:.1f} s"
    )


def _remarks(results: Results) -> Iterator[str]:
    runs = [run for each in results.scenarios for run in each.runs]
    missing = sum(check.passed is None for run in runs for check in run.checks)
    if results.model == texts.OFFLINE_NAME:
        yield texts.OFFLINE
    if missing:
        yield texts.not_judged(missing)
    yield from dict.fromkeys(each for run in runs for each in run.remarks)
    yield from results.problems[:_MOST_PROBLEMS]


def _changes(before: Results, after: Results) -> Iterator[str]:
    earlier = {each.file: each for each in before.scenarios}
    both = [(earlier[each.file], each) for each in after.scenarios if each.file in earlier]
    if not both:
        yield texts.NOTHING_IN_COMMON
        return
    old = Results(model=before.model, at=before.at, scenarios=tuple(each for each, _ in both))
    new = Results(model=after.model, at=after.at, scenarios=tuple(each for _, each in both))
    scores = f"{_percent(old.score).strip()}, now {_percent(new.score).strip()}"
    yield f"Before ({before.model}, {before.at}) {scores}:"
    lines = [line for pair in both for line in _differences(*pair)]
    yield from lines or ["no result of a check has changed"]
    if checks := sum(len(was.passes().keys() ^ now.passes().keys()) for was, now in both):
        yield texts.checks_not_compared(checks)
    if only := len(before.scenarios) + len(after.scenarios) - 2 * len(both):
        yield texts.not_compared(only)
    if before.judge != after.judge:
        yield texts.other_judge(before.judge, after.judge)


def _differences(before: ScenarioResult, after: ScenarioResult) -> Iterator[str]:
    old, new = before.passes(), after.passes()
    for key in sorted(new.keys() & old.keys()):
        (was, of), (now, among) = old[key], new[key]
        if was * among != now * of:
            sign = "+" if now * of > was * among else "-"
            yield f"  {sign} {after.file}, step {key[0]}, {key[1]}: {was} of {of} runs, now {now} of {among}"
