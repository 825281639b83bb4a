"""Forgetting one person in a thread where a change that another has asked for waits for an approval."""

import time
from dataclasses import replace

import pytest
from langchain_core.tools import StructuredTool
from pydantic import SecretStr
from redis.asyncio import Redis

from bot.agent import Agent, open_agent
from bot.agent.models.openai_service import open_model
from bot.chat import Approval, Decision, Message, Part, ThreadId, Turn
from bot.inbox.intake import as_message
from bot.memory import account_of
from bot.tools.waiting import GuardedTool, Preview
from tests.servers.model import KEY, ModelServer, Script
from tests.support.approval_requests import approvals

THREAD = ThreadId("test", "space", "t1")


def says(author: str, text: str) -> Message:
    return Message(
        id=f"test:{text}",
        thread=THREAD,
        author=f"test:{author}",
        author_name=author,
        text=text,
        sent_at=time.time(),
        addressed=True,
    )


def turn(*messages: Message) -> Turn:
    return Turn(id=messages[0].id, thread=THREAD, messages=messages)


async def answer(agent: Agent, turn: Turn) -> list[Part]:
    return [part async for part in agent.answer(turn)]


def a_guarded_tool(statements: list[str]) -> GuardedTool:
    async def sql_execute(statement: str) -> str:
        """Change the database."""
        statements.append(statement)
        return "Done: 1 row."

    async def preview(statement: str) -> Preview:
        return Preview(title="Change the database", action=statement, effect="1 row")

    made = StructuredTool.from_function(coroutine=sql_execute)
    return GuardedTool(
        **made.model_dump(exclude={"args_schema"}), args_schema=made.args_schema, preview=preview
    )


@pytest.mark.parametrize("asked_together", [False, True], ids=["each alone", "asked together"])
async def test_a_change_that_waits_runs_once_after_another_person_is_forgotten(
    redis: Redis, model: ModelServer, asked_together: bool
) -> None:
    statements: list[str] = []
    tools = [a_guarded_tool(statements)]
    requests = approvals(redis, approvers={"test:carol"})
    ann, bob = says("ann", "annmark"), says("bob", "bobmark")
    async with (
        open_model(
            name="m",
            fallback=None,
            api_key=SecretStr(KEY),
            base_url=model.base_url,
            timeout=5,
            tools=tools,
        ) as asked,
        open_agent(
            redis,
            asked,
            tools,
            requests,
            max_iterations=5,
            history_tokens=8000,
            ttl_days=1,
            has_memory=True,
        ) as agent,
    ):
        if not asked_together:
            await answer(agent, turn(ann))
        model.script(Script(tool_calls=[("sql_execute", {"statement": "delete"})]))
        parts = await answer(agent, turn(*([ann] if asked_together else []), bob))
        (request,) = [part for part in parts if isinstance(part, Approval)]
        await agent.forget(str(THREAD), frozenset({account_of(ann).digest}), wholly=False)
        assert await agent.texts_by(str(THREAD), frozenset({account_of(bob).digest})) == ["bobmark"]
        decision = Decision(
            request=request.id,
            verdict="approved",
            at=time.time(),
            thread=THREAD,
            asker=bob.author,
            summary="delete",
            place={},
            by="test:carol",
        )
        decided = turn(replace(as_message(decision), author_name="bob"))
        await answer(agent, decided)
        await answer(agent, turn(says("bob", "and now?")))
    assert statements == ["delete"]
    assert "annmark" not in str(model.requests[-1]["messages"])
