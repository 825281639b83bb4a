"""What of a thread's messages the model is given: pure functions over LangChain messages.

Every superstep of the graph writes the whole message list to Redis, so its length is the cost of a turn:
the history is cut by count as well as by tokens, and what is cut lives on in a running summary.
"""

from collections.abc import Sequence
from itertools import takewhile

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately

from bot.agent import prompts
from bot.agent.forgetting import named

MOST_MESSAGES = 40


def is_too_long(messages: Sequence[AnyMessage], budget: int) -> bool:
    """Whether the history exceeds `budget` tokens (estimated), or the number of messages worth keeping."""
    return len(messages) > MOST_MESSAGES or count_tokens_approximately(messages) > budget


def cut(messages: Sequence[AnyMessage], budget: int) -> int:
    """How many of the oldest messages to summarise, so that half of what is allowed remains.

    The rest begins with a person's message, never between a tool call and its result, and always holds all
    messages that wait for an answer. 0 when there is nothing to cut.
    """
    waiting = sum(1 for _ in takewhile(lambda each: isinstance(each, HumanMessage), reversed(messages)))
    answered = messages[: len(messages) - max(waiting - 1, 0)]
    starts = [index for index, message in enumerate(answered) if isinstance(message, HumanMessage)]
    for start in starts:
        rest = messages[start:]
        if len(rest) <= MOST_MESSAGES // 2 and count_tokens_approximately(rest) <= budget // 2:
            return start
    return starts[-1] if starts else 0


def prompt(messages: Sequence[AnyMessage], summary: str, conclude: bool) -> list[AnyMessage]:
    """What the model sees: the rules, the summary, the history; at the end the order to conclude."""
    head = prompts.SYSTEM
    if summary:
        head += "\n\n" + prompts.SUMMARY.format(summary=summary)
    tail = [SystemMessage(prompts.CONCLUDE)] if conclude else []
    return [SystemMessage(head), *repaired(named(messages)), *tail]


def repaired(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The messages with a result for every tool call.

    A turn that was cut off leaves a call without one, which OpenAI refuses with status 400.
    """
    whole: list[AnyMessage] = []
    for index, message in enumerate(messages):
        whole.append(message)
        if isinstance(message, AIMessage):
            # only the results right behind it: some services use the same ids in every answer
            results = takewhile(lambda each: isinstance(each, ToolMessage), messages[index + 1 :])
            answered = {result.tool_call_id for result in results if isinstance(result, ToolMessage)}
            whole += [_unfinished(call) for call in message.tool_calls if call["id"] not in answered]
    return whole


def _unfinished(call: ToolCall) -> ToolMessage:
    return ToolMessage(prompts.UNFINISHED_TOOL, tool_call_id=call["id"], name=call["name"], status="error")


def transcript(messages: Sequence[AnyMessage], summary: str) -> list[AnyMessage]:
    """The request to summarise `messages` together with the summary so far."""
    lines = [f"Earlier summary: {summary}"] if summary else []
    lines += [f"{message.type}: {message.text[:2_000]}" for message in named(messages) if message.text]
    return [SystemMessage(prompts.SUMMARISE), HumanMessage("\n".join(lines))]
