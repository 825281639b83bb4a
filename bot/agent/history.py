"""What of a thread's messages the model is given: pure functions over LangChain messages.

Every superstep of the graph writes the whole message list to Redis, so its length is the cost of a turn:
the history is cut by count as well as by tokens, and what is cut lives on in a running summary.
"""

from collections.abc import Collection, Sequence
from itertools import takewhile

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately

from bot.agent import prompts
from bot.agent.forgetting import named
from bot.agent.marking import marked

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


def prompt(
    messages: Sequence[AnyMessage],
    summary: str,
    conclude: bool,
    waiting: Collection[str] = (),
    *,
    is_limited: bool = False,
) -> list[AnyMessage]:
    """What the model sees: the rules, the summary, the history; at the end the order to conclude.

    What tools have returned, and what was made of it, is marked as data. `waiting` are the ids of the calls
    that a person has not decided yet; `is_limited` tells it that most tools are not for who asks.
    """
    head = prompts.SYSTEM + (f"\n\n{prompts.LIMITED}" if is_limited else "")
    if summary:
        head += "\n\n" + prompts.SUMMARY.format(summary=marked("the summary", summary))
    tail = [SystemMessage(prompts.CONCLUDE)] if conclude else []
    return [SystemMessage(head), *map(_marked, repaired(named(messages), waiting)), *tail]


def _marked(message: AnyMessage) -> AnyMessage:
    if not isinstance(message, ToolMessage):
        return message
    return message.model_copy(update={"content": marked(message.name or "a tool", message.text)})


def repaired(messages: Sequence[AnyMessage], waiting: Collection[str] = ()) -> list[AnyMessage]:
    """The messages with a result for every tool call.

    A turn that was cut off leaves a call without one, and so does a call that waits for a person's leave;
    OpenAI refuses that with status 400.
    """
    whole: list[AnyMessage] = []
    for index, message in enumerate(messages):
        whole.append(message)
        if isinstance(message, AIMessage):
            # only the results right behind it: some services use the same ids in every answer
            results = takewhile(lambda each: isinstance(each, ToolMessage), messages[index + 1 :])
            answered = {result.tool_call_id for result in results if isinstance(result, ToolMessage)}
            whole += [
                _unfinished(call, is_waiting=call["id"] in waiting)
                for call in message.tool_calls
                if call["id"] not in answered
            ]
    return whole


def _unfinished(call: ToolCall, *, is_waiting: bool) -> ToolMessage:
    text = prompts.WAITING_TOOL if is_waiting else prompts.UNFINISHED_TOOL
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")


def newest_results(messages: Sequence[AnyMessage]) -> list[ToolMessage]:
    """The results of the last round of tools, in order."""
    newest = takewhile(lambda each: isinstance(each, ToolMessage), reversed(messages))
    return [each for each in newest if isinstance(each, ToolMessage)][::-1]


def transcript(messages: Sequence[AnyMessage], summary: str) -> list[AnyMessage]:
    """The request to summarise `messages` together with the summary so far."""
    lines = [f"Earlier summary: {summary}"] if summary else []
    # indented, so that no text can pass for the line of another speaker
    said = [each for each in named(messages) if each.text]
    lines += [f"{each.type}: {each.text[:2_000]}".replace("\n", "\n  ") for each in said]
    return [SystemMessage(prompts.SUMMARISE), HumanMessage("\n".join(lines))]
