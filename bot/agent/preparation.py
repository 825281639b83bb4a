"""Step of the graph before the model thinks: older messages are summarised."""

import logging
from dataclasses import dataclass

from langchain_core.messages import RemoveMessage
from langgraph.runtime import get_runtime

from bot.agent import history
from bot.agent.messages import with_summarised
from bot.agent.models.metering import call_meter
from bot.agent.models.model import Model
from bot.agent.state import Context, State, Update
from bot.chat import AnswerError, BudgetExceeded, Meter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Preparation:
    """Node of the graph; a summary takes at most a share of `history_tokens`."""

    model: Model
    history_tokens: int
    meter: Meter | None

    async def next_step(self, state: State) -> str:
        """Return the name of the first node of a turn, or of the one after its words were heard."""
        budget = history.room(self.history_tokens, state.get("summary", ""))
        too_long = history.is_too_long(state["messages"], budget)
        return "summarise" if too_long and history.count_to_summarise(state["messages"], budget) else "think"

    async def summarise(self, state: State) -> Update:
        """Replace the older messages by a summary; if that fails, drop them rather than fail the turn."""
        context = get_runtime(Context).context
        summary = history.limit_summary(state.get("summary", ""), self.history_tokens)
        budget = history.room(self.history_tokens, summary)
        older = state["messages"][: history.count_to_summarise(state["messages"], budget)]
        try:
            request = history.transcript(older, summary, self.history_tokens)
            meter = call_meter(self.meter, context.turn, context.emit)
            answer = await self.model.answer(request, lambda _: None, meter, "plain")
            summary = history.limit_summary(answer.text.strip(), self.history_tokens) or summary
        except BudgetExceeded:
            raise  # the turn fails too, so nothing may be dropped for it
        except AnswerError as error:
            log.warning("history cut without a summary", extra={"error": str(error)})
        first = with_summarised(state["messages"][len(older)], older)
        removed = [RemoveMessage(id=message.id or "") for message in older]
        return {"messages": [*removed, first], "summary": summary}
