"""Selection of the messages that the model receives. Pure functions over LangChain messages.

Every superstep of the graph writes the whole message list to Redis, so its length is the cost of a turn. The
history is cut by count and by tokens; a running summary replaces what was cut.
"""

import json
from collections.abc import Collection, Sequence
from itertools import takewhile

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately

from bot.agent import prompts
from bot.agent.authors import add_author_names
from bot.agent.models.completion import WIRE
from bot.agent.silence import is_silent
from bot.agent.spotlighting import cut_marked, indent, mark
from bot.agent.system_prompt import SystemPrompt
from bot.tools.questions import ASK_USER

MOST_MESSAGES = 40
CHARS_PER_TOKEN = 4
LONGEST_SUMMARY = 2_000
SHORTEST_RESULT = 200
_LONGEST_IN_TRANSCRIPT = 2_000
_RULES = SystemPrompt()

ANSWERED_CALL = "answered_call"
"""Key of a `HumanMessage`'s `additional_kwargs`: id of the call whose question the message answers."""


def size(messages: Sequence[AnyMessage]) -> int:
    """Return the estimated tokens of the messages, including fields that the model service wants back."""
    kept = (each.additional_kwargs.get(WIRE) for each in messages)
    extra = sum(len(json.dumps(each)) for each in kept if each)
    return count_tokens_approximately(messages) + extra // CHARS_PER_TOKEN


def is_too_long(messages: Sequence[AnyMessage], budget: int) -> bool:
    """Return True if the history exceeds `budget` tokens (estimated) or `MOST_MESSAGES`."""
    return len(messages) > MOST_MESSAGES or size(messages) > budget


def count_to_summarise(messages: Sequence[AnyMessage], budget: int) -> int:
    """Return how many of the oldest messages to summarise so that half of the allowed size remains, or 0.

    The rest begins with a human message, never between a tool call and its result, and holds all messages
    that wait for an answer.
    """
    waiting = sum(1 for _ in takewhile(lambda each: isinstance(each, HumanMessage), reversed(messages)))
    answered = messages[: len(messages) - max(waiting - 1, 0)]
    starts = [index for index, message in enumerate(answered) if isinstance(message, HumanMessage)]
    for start in starts:
        rest = messages[start:]
        if len(rest) <= MOST_MESSAGES // 2 and size(rest) <= budget // 2:
            return start
    return starts[-1] if starts else 0


def room(budget: int, summary: str) -> int:
    """Return the tokens that remain for messages beside the summary."""
    return max(budget // 2, budget - len(summary) // CHARS_PER_TOKEN)


def limit_summary(summary: str, budget: int) -> str:
    """Cut a summary to `budget` characters, a quarter of the tokens: models write longer ones than asked."""
    most = min(LONGEST_SUMMARY, budget)
    return summary if len(summary) <= most else summary[: most - 1].rstrip() + "…"


def prompt(
    messages: Sequence[AnyMessage],
    summary: str,
    conclude: bool,
    waiting: Collection[str] = (),
    budget: int | None = None,
    *,
    system: SystemPrompt = _RULES,
) -> list[AnyMessage]:
    """Return the prompt: one system message with the rules and the summary, then the history.

    Tool results are marked as data, and older ones are shortened to fit `budget` tokens. `waiting` are the
    ids of undecided calls.
    """
    summary = limit_summary(summary, budget) if budget else summary
    head = system.text(summary, must_conclude=conclude)
    said = [each for each in messages if not is_silent(each)]
    shown = [_mark(message) for message in repair(add_author_names(said), waiting)]
    if budget:
        shown = _fit(shown, room(budget, summary), newest=len(newest_results(shown)))
    return [SystemMessage(head), *shown]


def _mark(message: AnyMessage) -> AnyMessage:
    if not isinstance(message, ToolMessage):
        return message
    return message.model_copy(update={"content": mark(message.name or "a tool", message.text)})


def _fit(messages: list[AnyMessage], budget: int, newest: int) -> list[AnyMessage]:
    """Return the messages with older results shortened, all to the same length, so that they fit `budget`.

    The `newest` results stay whole, and so does everything that is not a tool result.
    """
    older = [
        index
        for index, each in enumerate(messages[: len(messages) - newest])
        if isinstance(each, ToolMessage)
    ]
    if not older or (excess := size(messages) - budget) <= 0:
        return messages
    lengths = [len(messages[index].text) for index in older]
    chars = max(SHORTEST_RESULT, fair_share(lengths, sum(lengths) - excess * CHARS_PER_TOKEN))
    fitted = list(messages)
    for index in older:
        message = messages[index]
        fitted[index] = message.model_copy(update={"content": cut_marked(message.text, chars)})
    return fitted


def fair_share(lengths: Sequence[int], total: int) -> int:
    """Return the length to which the longest must be cut so that all together take `total`."""
    left, share = total, 0
    for place, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - place)
        if length > share:
            return max(share, 0)
        left -= length
    return max(lengths, default=0)


def shorten(messages: Sequence[AnyMessage]) -> list[AnyMessage] | None:
    """Return a prompt of at most half the size, or None if it cannot be shortened.

    Older turns are dropped first, then long messages of the newest turn are cut. The rules stay whole.
    """
    head, rest = messages[:1], list(messages[1:])
    most = size(rest) // 2
    starts = [index for index, each in enumerate(rest) if isinstance(each, HumanMessage)]
    waiting = sum(1 for _ in takewhile(lambda each: isinstance(each, HumanMessage), reversed(rest)))
    begins = starts[: len(starts) - max(waiting - 1, 0)]
    newest = begins[-1] if begins else 0
    start = next((each for each in begins if size(rest[each:]) <= most), newest)
    rest = rest[start:]
    if (excess := size(rest) - most) > 0:
        lengths = [len(each.text) for each in rest]
        chars = max(SHORTEST_RESULT, fair_share(lengths, sum(lengths) - excess * CHARS_PER_TOKEN))
        rest = [_cut(each, chars) for each in rest]
    return [*head, *rest] if size(rest) < 2 * most * 9 // 10 else None


def _cut(message: AnyMessage, chars: int) -> AnyMessage:
    if len(message.text) <= chars:
        return message
    text = cut_marked(message.text, chars)
    text = text if len(text) < len(message.text) else message.text[:chars] + "…"
    return message.model_copy(update={"content": text})


def repair(messages: Sequence[AnyMessage], waiting: Collection[str] = ()) -> list[AnyMessage]:
    """Add a result for every tool call that has none.

    An interrupted turn and a call that waits for a user leave calls without results, which OpenAI refuses
    with status 400. So does a question that a user has answered in words: their message follows.
    """
    whole: list[AnyMessage] = []
    answered_below = {each.additional_kwargs.get(ANSWERED_CALL) for each in messages}
    for index, message in enumerate(messages):
        whole.append(message)
        if isinstance(message, AIMessage):
            # only the results right after it: some services use the same ids in every answer
            results = takewhile(lambda each: isinstance(each, ToolMessage), messages[index + 1 :])
            answered = {result.tool_call_id for result in results if isinstance(result, ToolMessage)}
            whole += [
                _missing_result(call, waiting, answered_below)
                for call in message.tool_calls
                if call["id"] not in answered
            ]
    return whole


def _missing_result(
    call: ToolCall, waiting: Collection[str], answered_below: Collection[str | None]
) -> ToolMessage:
    text = prompts.UNFINISHED_TOOL
    if call["id"] in answered_below:
        text = prompts.ANSWERED_BELOW
    elif call["id"] in waiting:
        text = prompts.WAITING_QUESTION if call["name"] == ASK_USER else prompts.WAITING_TOOL
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")


def newest_results(messages: Sequence[AnyMessage]) -> list[ToolMessage]:
    """Return the results of the last round of tools, in order."""
    newest = takewhile(lambda each: isinstance(each, ToolMessage), reversed(messages))
    return [each for each in newest if isinstance(each, ToolMessage)][::-1]


def transcript(messages: Sequence[AnyMessage], summary: str, budget: int = 8000) -> list[AnyMessage]:
    """Return the request to summarise `messages` and the earlier summary, in about `budget` tokens."""
    said = [each for each in add_author_names(messages) if each.text]
    share = fair_share([len(each.text) for each in said], budget * CHARS_PER_TOKEN)
    chars = min(_LONGEST_IN_TRANSCRIPT, max(SHORTEST_RESULT, share))
    lines = [f"Earlier summary: {indent(limit_summary(summary, budget))}"] if summary else []
    # indented, so that no text can look like the line of another author
    lines += [f"{each.type}: {indent(each.text[:chars])}" for each in said]
    return [SystemMessage(prompts.SUMMARISE), HumanMessage("\n".join(lines))]
