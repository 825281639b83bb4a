"""Route `POST /approvals/<id>`: takes a decision, answers with its outcome."""

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from bot.chat import MOST_REASON
from bot.commands.commands import Commands
from bot.http import bodies
from bot.http.callers import CALLER, PLATFORM, caller_in
from bot.http.chat import Conversation
from bot.http.errors import Refusal


class DecisionRequest(BaseModel):
    """Body of `POST /approvals/<id>`."""

    approve: bool
    reason: str = ""


DECISION_REQUEST = TypeAdapter(DecisionRequest)


async def decide(request: web.Request, commands: Commands, conversation: Conversation) -> web.StreamResponse:
    """Decide a request; 403 without permission. In the caller's own thread the rest of the answer follows."""
    body = bodies.parse(DECISION_REQUEST, await bodies.read(request))
    id = request.match_info["id"]
    caller = request[CALLER]
    decided = await commands.decide(
        id, caller.author, approve=body.approve, reason=body.reason.strip()[:MOST_REASON]
    )
    if decided.thread is None:
        raise Refusal(403 if decided.is_known else 404, decided.words)
    if decided.thread.platform != PLATFORM or caller_in(decided.thread) != caller:
        return web.json_response({"status": "success", "response": decided.words})
    return await conversation.follow(request, decided.thread, f"decision:{id}", decided.words)
