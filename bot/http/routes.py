"""Routes of the HTTP surface, with what the OpenAPI document says about each."""

from functools import partial

from aiohttp import web
from pydantic import TypeAdapter

from bot.chat import Files
from bot.commands.commands import Commands
from bot.http import approvals, redis_direct, schemas
from bot.http.answers import VOTE_REQUEST, AnswerRoutes
from bot.http.callers import CALLER
from bot.http.chat import CHAT_REQUEST, Conversation
from bot.http.completions import COMPLETION_REQUEST, THREAD, CompletionRoutes
from bot.http.errors import OPENAI_PATH
from bot.http.files import send
from bot.http.health import Probes
from bot.http.hooks import PATH, Hooks
from bot.http.memory import FACT_REQUEST, MemoryRoutes
from bot.http.openapi import OF_ANSWERS, OF_BODIES, Operation, Route
from bot.http.threads import EDIT_REQUEST, TITLE_REQUEST, ThreadRoutes

_ANSWER = "/answers/{id}"
_ANSWER_ID = "[0-9a-f]{20}"
_KEY = {"Idempotency-Key": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}}
_THREAD = {THREAD: {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"}}
_EMPTY: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])


def build_routes(
    conversation: Conversation,
    threads: ThreadRoutes,
    probes: Probes,
    commands: Commands,
    files: Files,
    welcome: schemas.Welcome,
) -> list[Route]:
    """Return the routes for callers; what the bot does not offer has none."""
    return [
        *_chat_routes(conversation, commands),
        *_thread_routes(threads),
        *_completion_routes(CompletionRoutes(conversation, files)),
        *_answer_routes(commands, conversation),
        *_data_routes(commands, files),
        *_state_routes(probes, commands, welcome),
    ]


def hook_route(hooks: Hooks) -> Route:
    """Return the route of the hooks, which is served like the webhooks of platforms."""
    text = {"type": "string"}
    operation = Operation(
        summary="Deliver a message that is posted into the channel of a hook",
        headers={
            "X-Hub-Signature-256": text,
            "X-Signature": text,
            "X-Signature-Timestamp": text,
            **_KEY,
        },
        answer=schemas.Accepted,
        statuses=OF_BODIES,
        success=202,
        is_signed=True,
    )
    return Route("POST", PATH, hooks.handle, operation)


def _chat_routes(conversation: Conversation, commands: Commands) -> list[Route]:
    async def decide(request: web.Request) -> web.StreamResponse:
        return await approvals.decide(request, commands, conversation)

    chat = Operation(
        summary="Ask the agent; without thread_id in a new thread",
        body=CHAT_REQUEST,
        headers=_KEY,
        answer=schemas.ChatAnswer,
        statuses=OF_ANSWERS,
        streams=True,
    )
    decision = Operation(
        summary="Decide about a change that waits for approval",
        body=approvals.DECISION_REQUEST,
        answer=schemas.ChatAnswer,
        statuses=(404, *OF_ANSWERS),
        streams=True,
    )
    return [
        Route("POST", "/chat", conversation.chat, chat),
        Route("POST", "/approvals/{id}", decide, decision),
    ]


def _thread_routes(threads: ThreadRoutes) -> list[Route]:
    listed = Operation(
        summary="List your conversations, the newest first",
        query={"q": (), "limit": (), "before": ()},
        answer=schemas.ThreadList,
    )
    shown = Operation(summary="Show a conversation", answer=schemas.ThreadTranscript, statuses=(404,))
    renamed = Operation(
        summary="Rename a conversation", body=TITLE_REQUEST, answer=schemas.Done, statuses=(404,)
    )
    deleted = Operation(summary="Delete a conversation", answer=schemas.Done, statuses=(404,))
    restored = Operation(
        summary="Restore a deleted conversation", body=_EMPTY, answer=schemas.Done, statuses=(404,)
    )
    followed = Operation(
        summary="Follow the answer that is being given in a conversation",
        answer=schemas.ChatAnswer,
        statuses=(404, *OF_ANSWERS),
        streams=True,
    )
    edited = Operation(
        summary="Ask the last question of a conversation in other words",
        body=EDIT_REQUEST,
        answer=schemas.ChatAnswer,
        statuses=(404, 409, *OF_ANSWERS),
        streams=True,
    )
    return [
        Route("GET", "/threads", threads.list, listed),
        Route("GET", "/threads/{id}", threads.show, shown),
        Route("PATCH", "/threads/{id}", threads.rename, renamed),
        Route("DELETE", "/threads/{id}", threads.delete, deleted),
        Route("POST", "/threads/{id}/restore", threads.restore, restored),
        Route("GET", "/threads/{id}/answer", threads.follow, followed),
        Route("POST", "/threads/{id}/edit", threads.edit, edited),
    ]


def _completion_routes(completions: CompletionRoutes) -> list[Route]:
    complete = Operation(
        summary="Ask the agent as a model of OpenAI's API",
        body=COMPLETION_REQUEST,
        headers={**_KEY, **_THREAD},
        answer=schemas.Completion,
        statuses=(404, *OF_ANSWERS),
        streams=True,
    )
    model = Operation(summary="Describe the agent as a model", answer=schemas.Model, statuses=(404,))
    models = Operation(summary="List the agent as the only model", answer=schemas.ModelList)
    return [
        Route("POST", f"{OPENAI_PATH}chat/completions", completions.complete, complete),
        Route("GET", f"{OPENAI_PATH}models", completions.models, models),
        Route("GET", OPENAI_PATH + "models/{id}", completions.model, model),
    ]


def _answer_routes(commands: Commands, conversation: Conversation) -> list[Route]:
    if commands.answers is None:
        return []
    answers = AnswerRoutes(commands.answers, conversation)
    describe = Operation(summary="Describe how an answer came about", answer=schemas.Words, statuses=(404,))
    vote = Operation(
        summary="Vote on an answer", body=VOTE_REQUEST, answer=schemas.Words, statuses=(404, 429)
    )
    regenerate = Operation(
        summary="Ask for another answer in place of the last one",
        body=_EMPTY,
        answer=schemas.ChatAnswer,
        statuses=(404, 409, *OF_ANSWERS),
        streams=True,
    )
    return [
        Route("GET", _ANSWER, answers.describe, describe, _ANSWER_ID),
        Route("POST", f"{_ANSWER}/vote", answers.rate, vote, _ANSWER_ID),
        Route("POST", f"{_ANSWER}/regenerate", answers.regenerate, regenerate, _ANSWER_ID),
    ]


def _data_routes(commands: Commands, files: Files) -> list[Route]:
    file = Operation(summary="Load a file of an answer", answer="application/octet-stream", statuses=(404,))
    routes = [Route("GET", "/files/{id}", partial(send, files), file)]
    if commands.operations:
        run = partial(redis_direct.run, commands.operations)
        direct = Operation(
            summary="Run an operation on keys and values",
            body=redis_direct.SHAPES,
            answer=schemas.RedisAnswer,
        )
        routes.append(Route("POST", "/redis/direct", run, direct))
    if commands.memory:
        memory = MemoryRoutes(commands.memory)
        export = Operation(summary="Export everything that is stored about you", answer=schemas.PersonalData)
        forget = Operation(
            summary="Delete everything that is stored about you",
            query={"confirm": ("everything",)},
            answer=schemas.Done,
        )
        facts = Operation(
            summary="List facts about you, some at once", query={"first": ()}, answer=schemas.KnownFacts
        )
        correct = Operation(summary="Correct a fact about you", body=FACT_REQUEST, answer=schemas.Words)
        forget_one = Operation(summary="Forget a fact about you", answer=schemas.Words)
        routes += [
            Route("GET", "/memory", memory.export, export),
            Route("DELETE", "/memory", memory.forget, forget),
            Route("GET", "/memory/facts", memory.facts, facts),
            Route("PATCH", "/memory/facts/{id}", memory.correct_fact, correct),
            Route("DELETE", "/memory/facts/{id}", memory.forget_fact, forget_one),
        ]
    return routes


def _state_routes(probes: Probes, commands: Commands, welcome: schemas.Welcome) -> list[Route]:
    async def greet(request: web.Request) -> web.Response:
        return web.json_response(welcome.model_dump())

    async def usage(request: web.Request) -> web.Response:
        of_all = request.query.get("of") == "all"
        words = await commands.report_usage(request[CALLER].author, of_all=of_all)
        return web.json_response({"status": "success", "response": words})

    health = Operation(
        summary="Report the state of each part",
        answer=schemas.HealthReport,
        also={503: schemas.HealthReport},
    )
    used = Operation(
        summary="Report how much of the model was used today", query={"of": ("all",)}, answer=schemas.Words
    )
    greeting = Operation(
        summary="Tell what the bot suggests to ask, and what can be connected", answer=schemas.Welcome
    )
    live = Operation(summary="Tell whether the process runs", answer=schemas.Alive)
    ready = Operation(summary="Tell whether messages are accepted", answer=schemas.Alive)
    return [
        Route("GET", "/health", probes.health, health),
        Route("GET", "/usage", usage, used),
        Route("GET", "/welcome", greet, greeting),
        Route("GET", "/livez", probes.live, live),
        Route("GET", "/readyz", probes.ready, ready),
    ]
