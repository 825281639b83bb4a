"""Routes below `/answers/<id>`: feedback, details and another answer.

An answer that was not given over HTTP is not known here: ids can be computed from those of messages.
"""

from typing import Literal

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from bot.chat import Message
from bot.commands import answer_texts
from bot.commands.answers import AnswerActions
from bot.http import bodies
from bot.http.callers import CALLER
from bot.http.chat import Conversation
from bot.http.errors import Refusal


class VoteRequest(BaseModel):
    """Body of `POST /answers/<id>/vote`."""

    vote: Literal["up", "down"]
    reason: str = ""


VOTE_REQUEST = TypeAdapter(VoteRequest)


class AnswerRoutes:
    """Routes of the buttons below an answer."""

    def __init__(self, answers: AnswerActions, conversation: Conversation) -> None:
        self._answers = answers
        self._conversation = conversation

    async def rate(self, request: web.Request) -> web.Response:
        """Handle `POST /answers/<id>/vote`."""
        body = bodies.parse(VOTE_REQUEST, await bodies.read(request))
        await self._answers.rate(request.match_info["id"], _press(request), body.vote, body.reason)
        return _success(answer_texts.THANKS)

    async def describe(self, request: web.Request) -> web.Response:
        """Handle `GET /answers/<id>`: return the details as Markdown."""
        return _success(await self._answers.describe(request.match_info["id"], _press(request)))

    async def regenerate(self, request: web.Request) -> web.StreamResponse:
        """Handle `POST /answers/<id>/regenerate`: respond with the other answer, 409 if there is none.

        A repeated request gets the same answer, after a failure another one.
        """
        await bodies.read(request)  # the required content type keeps out forms of other websites
        order = await self._answers.regenerate(request.match_info["id"], _press(request))
        if order.thread is None:
            raise Refusal(409, order.words)
        return await self._conversation.follow(request, order.thread, order.message, order.words)


def _press(request: web.Request) -> Message:
    """Return a press as a message of the caller."""
    caller = request[CALLER]
    return Message(
        id="",
        thread=caller.thread(""),
        author=caller.author,
        text="",
        sent_at=0,
        addressed=True,
        direct=True,
    )


def _success(words: str) -> web.Response:
    return web.json_response({"status": "success", "response": words})
