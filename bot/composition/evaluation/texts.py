"""Sentences of `bot eval` for the operator."""

from collections.abc import Mapping

from bot.chat.text import count, one_line

OFFLINE_NAME = "offline"

OFFLINE = "No model is configured: this is the offline model, which does not understand what is asked."


_LONGEST_EVIDENCE = 300


def no_database(name: str) -> str:
    return f"{name}: `database: yours` needs DATABASE_URL, which is not set"


def no_plugins(name: str) -> str:
    return f"{name}: `plugins: true` needs MCP_SERVERS or TOOL_PLUGINS, which are not set"


def limited(part: str, state: str, evidence: Mapping[str, object]) -> str:
    why = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in evidence.items())
    return one_line(f"{part} {state}: {why}", _LONGEST_EVIDENCE)


def no_button(label: str) -> str:
    return f"there is no button “{label}” to press"


def no_command(word: str) -> str:
    return f"{word} is not a command that a story can use; /agent-channel is"


def no_answer(seconds: float) -> str:
    return f"nothing was complete within {seconds:g} s"


def unclear(answer: str) -> str:
    return f"the judge said neither yes nor no: “{one_line(answer, 100)}”"


def not_judged(checks: int) -> str:
    return f"Not judged, and not counted: {count(checks, 'check')}."


def checks_not_compared(checks: int) -> str:
    return (
        f"{count(checks, 'check')} of the same scenarios with a result in only one of the two: not compared."
    )


def other_judge(before: str, now: str) -> str:
    judges = f"{before or 'nobody'} before, {now or 'nobody'} now"
    return f"Another judge ({judges}): use the same --judge to compare models."


def not_compared(scenarios: int) -> str:
    return f"{count(scenarios, 'scenario')} in only one of the two results: not compared."


NOTHING_IN_COMMON = "The earlier results have none of these scenarios: nothing can be compared."
