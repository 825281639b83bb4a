"""Another answer in place of a thread's last one: what is taken back before the model thinks again. Pure."""

from collections.abc import Collection, Sequence
from itertools import dropwhile, takewhile

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage

from bot.agent.state import State, Update
from bot.agent.waiting import request_of

_ORDER = "regenerated_by"
"""Key of the `additional_kwargs` of the last message that stays: the turn that has taken back the rest."""

AGAIN = "decided_"
"""Prefix of the id of a call that was repeated after its decision."""


def end_of_question(
    messages: Sequence[AnyMessage], question: str, waiting_tools: Collection[str]
) -> int | None:
    """Return the index of the last message before the answer to the turn `question`.

    That is the last message of the users, or the results beside a call that a user has decided since: nothing
    that was approved runs again unasked. None if another turn follows.
    """
    ends = [
        at
        for at, each in enumerate(messages)
        if isinstance(each, HumanMessage) or (isinstance(each, ToolMessage) and each.name in waiting_tools)
    ]
    if not ends:
        return None
    newest = messages[ends[-1]]
    ids = _ids_of_question(messages[: ends[-1] + 1])
    if isinstance(newest, ToolMessage):
        call = newest.tool_call_id
        ids |= {f"decision:{request_of(call)}", f"decision:{call.removeprefix(AGAIN)}"}
    if question not in ids:
        return None
    following = takewhile(lambda each: isinstance(each, ToolMessage), messages[ends[-1] + 1 :])
    return ends[-1] + len(list(following))


def _ids_of_question(messages: Sequence[AnyMessage]) -> set[str]:
    """Return the ids of the last messages of users; that of a replayed one also without its number."""
    written = dropwhile(lambda each: not isinstance(each, HumanMessage), reversed(messages))
    asked = takewhile(lambda each: isinstance(each, HumanMessage), written)
    ids = {each.id or "" for each in asked}
    return ids | {id.rpartition(":")[0] for id in ids}


def without_answer(state: State, question: str, order: str, waiting_tools: Collection[str]) -> Update:
    """Return the update that takes back the answer to `question`, and marks that the turn `order` did so."""
    messages = state["messages"]
    end = end_of_question(messages, question, waiting_tools)
    if end is None or place_of(messages, order) is not None:
        return {}
    last, rest = messages[end], messages[end + 1 :]
    calls = {call["id"] for each in rest if isinstance(each, AIMessage) for call in each.tool_calls}
    marked = last.model_copy(update={"additional_kwargs": {**last.additional_kwargs, _ORDER: order}})
    proposals = state.get("proposals") or {}
    return {
        "messages": [marked, *(RemoveMessage(id=each.id or "") for each in rest)],
        "proposals": {id: each for id, each in proposals.items() if id not in calls},
    }


def place_of(messages: Sequence[AnyMessage], order: str) -> int | None:
    """Return the index of the message after which the turn `order` has taken back all; None if it has not."""
    marked = (at for at, each in enumerate(messages) if each.additional_kwargs.get(_ORDER) == order)
    return next(marked, None)
