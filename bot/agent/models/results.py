"""Results of tools in the words of the offline model: a language model would reword them. Pure."""

import re
from collections.abc import Iterator, Sequence

from langchain_core.messages import ToolMessage

from bot.agent import parts
from bot.agent.models import texts
from bot.agent.models.tour import FACTS, REMEMBER_PATTERN, Understood
from bot.agent.spotlighting import SIGN, unmark
from bot.chat import File
from bot.chat.text import one_line
from bot.tools.artifacts import artifacts_of

_MOST_FILE_LINES = 12
_MOST_LINE = 300
_MOST_ENTRIES = 8

_FILE = re.compile(r"^\[data from the file (?P<name>[^\n]{1,200}?) \([^\n]{1,120}\)\]$", re.MULTILINE)
_FACT = re.compile(r"^\[[^\]\n]*\bfact\b[^\]\n]*\] (.+)$", re.MULTILINE)
_ASKED = re.compile(r"^\[[^\]\n]*\] asked: (.+)\nanswered: (.*)$", re.MULTILINE)
_TABLE = re.compile(r"^(?P<name>\S+) \((?P<size>[^)\n]+)\)(?:: (?P<about>.+))?$", re.MULTILINE)
_SAVED = re.compile(r"Saved for (?P<whom>[^:\n]+): (?P<fact>[^\n]+)(?:\n(?P<more>.+))?")


def failure(result: ToolMessage, tool: str) -> str:
    """Return the answer with the result of a call that failed, or that an approver rejected."""
    problem = parts.readable(result, unmark(result.text))
    return problem if tool == "sql_execute" else texts.offline_failure(problem)


def answer(tool: str, result: ToolMessage, asked: Understood | None) -> str:
    """Return the answer with a result; `asked` is the question, if it is one of the tour."""
    text = unmark(result.text)
    match tool:
        case "sql_query":
            return _rows(text, asked)
        case "memory_save":
            return _saved(text)
        case "memory_search":
            return _facts(text) if asked and asked.question.shows == FACTS else _found(text)
        case "sql_schema":
            return texts.offline_tables([_table(each) for each in _TABLE.finditer(text)])
        case "sql_execute" if asked:
            return asked.words()
        case _:
            files = [each for each in artifacts_of(result) if isinstance(each, File)]
            about = ". ".join(file.alt for file in files) or parts.readable(result, text)
            if asked:
                title = asked.question.arguments.get("title", "")
                return f"{asked.words()} {about.removeprefix(f'{title}. ')}."
            return f"{about.rstrip('.')}."


def _rows(text: str, asked: Understood | None) -> str:
    """Return a table for a person: its sentence first, and no advice for a model below."""
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("|")]
    if asked and len(table) > 2:
        return "\n".join([asked.words(_cells(table[2])), "", *table])
    if asked and len(table) == 2:
        return asked.question.nothing
    if table and "there are more" in lines[-1]:
        return "\n".join([*lines[:-1], texts.offline_more_rows(len(table) - 2)])
    return text


def _cells(row: str) -> Sequence[str]:
    return [each.strip().replace("\\|", "|") for each in re.split(r"(?<!\\)\|", row)[1:-1]]


def _saved(text: str) -> str:
    saved = _SAVED.match(text)
    if not saved:
        return text.split("\n", 1)[0]
    confirmed = texts.offline_saved(saved["fact"], is_private="user" in saved["whom"])
    return f"{confirmed}\n\n{saved['more']}" if saved["more"] else confirmed


def _facts(text: str) -> str:
    asked = [REMEMBER_PATTERN.match(each) for each, _ in _ASKED.findall(text)]
    facts = list(dict.fromkeys([*_FACT.findall(text), *(each["fact"] for each in asked if each)]))
    return texts.offline_facts(facts[:_MOST_ENTRIES]) if facts else texts.OFFLINE_NO_FACTS


def _found(text: str) -> str:
    asked = [f"You asked “{one_line(each, _MOST_LINE)}”" for each, _ in _ASKED.findall(text)]
    return texts.offline_found([*_FACT.findall(text), *asked][:_MOST_ENTRIES])


def _table(line: re.Match[str]) -> str:
    size = line["size"].partition(", ")[2]
    about = "; ".join(each for each in (size, line["about"]) if each)
    return f"**{line['name']}**: {about}" if about else f"**{line['name']}**"


def file_answer(message: str, *, or_none: bool = False) -> str:
    """Return the beginning of a message's first file; without one a sentence, or with `or_none` nothing."""
    found = _FILE.search(message)
    if found is None:
        return "" if or_none else texts.OFFLINE_NO_FILE
    return texts.offline_file(found["name"], "\n".join(_quoted(message[found.end() + 1 :])))


def _quoted(data: str) -> Iterator[str]:
    """Yield the first lines of marked data as a quote in Markdown."""
    for number, line in enumerate(data.split("\n", _MOST_FILE_LINES + 1)):
        if not line.startswith(SIGN.rstrip()):
            return
        if number == _MOST_FILE_LINES:
            yield "> …"
            return
        yield "> " + one_line(line.removeprefix(SIGN), _MOST_LINE) + "  "
