"""Files that tools make, on their way through the agent: shown once each, also after a crash."""

from contextlib import aclosing
from dataclasses import replace

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from redis.asyncio import Redis

from bot.agent import parts
from bot.agent.spotlighting import unmark
from bot.chat import (
    Attachment,
    AttachmentContent,
    File,
    Json,
    Message,
    Notice,
    Part,
    Table,
    TableColumn,
    Text,
    ToolStep,
    Turn,
)
from bot.storage.files import FileStore
from bot.tools.artifacts import artifact_of, artifacts_of
from tests.servers.model import ModelServer, Script
from tests.support.agent import a_turn, an_agent, parts_of
from tests.support.files import PICTURE


@pytest.fixture
async def picture(redis: Redis) -> File:
    """A file that is stored."""
    return await FileStore(redis).keep("chart.png", "image/png", PICTURE, "Sales")


def drawing(*files: Table | File) -> BaseTool:
    """Return a tool that makes these files."""

    @tool(response_format="content_and_artifact")
    async def chart(title: str) -> tuple[str, Json]:
        """Draw."""
        return f"Drawn: {title}", artifact_of(files)

    return chart


def files(parts: list[Part]) -> list[File]:
    return [part for part in parts if isinstance(part, File)]


async def test_a_tools_file_comes_after_its_step_and_the_model_sees_only_the_words(
    redis: Redis, model: ModelServer, picture: File
) -> None:
    model.script(Script(tool_calls=[("chart", {"title": "Sales"})]), "There.")
    async with an_agent(redis, model, tools=[drawing(picture)]) as agent:
        shown = await parts_of(agent, a_turn("draw"))
    assert [type(part) for part in shown] == [ToolStep, ToolStep, File, Text]
    assert files(shown) == [picture]
    [result] = [each for each in model.requests[-1]["messages"] if each["role"] == "tool"]
    assert unmark(result["content"]) == "Drawn: Sales"


async def test_a_file_that_two_calls_make_is_shown_once(
    redis: Redis, model: ModelServer, picture: File
) -> None:
    model.script(Script(tool_calls=[("chart", {"title": "a"}), ("chart", {"title": "b"})]), "There.")
    async with an_agent(redis, model, tools=[drawing(picture)]) as agent:
        assert files(await parts_of(agent, a_turn("draw"))) == [picture]


async def test_a_file_that_was_stored_is_shown_again_in_the_next_attempt_and_not_made_anew(
    redis: Redis, model: ModelServer, picture: File
) -> None:
    """The first attempt ends as soon as the file is shown."""
    model.script(Script(tool_calls=[("chart", {"title": "Sales"})]), "There.")
    async with an_agent(redis, model, tools=[drawing(picture)]) as agent:
        first: list[Part] = []
        async with aclosing(agent.answer(a_turn("draw"))) as answer:  # type: ignore[type-var] # a generator
            async for part in answer:
                first.append(part)
                if isinstance(part, File):
                    break
    assert files(first) == [picture]
    async with an_agent(redis, model, tools=[drawing()]) as agent:
        again = await parts_of(agent, a_turn("draw", attempt=2))
        finished = await parts_of(agent, a_turn("draw", attempt=3))
    assert files(again) == files(finished) == [picture]
    assert again[-1] == Text("There.")


async def test_the_next_turn_of_a_thread_drops_the_rows_of_earlier_tables(
    redis: Redis, model: ModelServer, picture: File
) -> None:
    """Each checkpoint has all messages: rows that the users have would be written again and again."""
    table = Table(
        title="Sales", columns=(TableColumn("n"),), rows=(("a row",),), total=1, total_columns=1, file=picture
    )
    model.script(Script(tool_calls=[("chart", {"title": "Sales"})]), "There.", "Yes.")
    async with an_agent(redis, model, tools=[drawing(table)]) as agent:
        assert table in await parts_of(agent, a_turn("draw"))
        assert await stored_with(redis, b"a row")
        await parts_of(agent, a_turn("thanks"))
        assert not await stored_with(redis, b"a row")
        assert await stored_with(redis, b"Drawn: Sales")


async def stored_with(redis: Redis, text: bytes) -> bool:
    """Return whether a value in Redis has this text."""
    keys = [key async for key in redis.scan_iter(_type="string")]
    return any(text in (value or b"") for value in await redis.mget(keys))


@pytest.mark.parametrize(
    "artifact", [None, "text", {"files": "x"}, {"files": [{"id": "1"}]}, {"files": ["x"]}, [1], {"other": 1}]
)
def test_an_artifact_that_is_something_else_is_no_file(artifact: object) -> None:
    result = ToolMessage("words", tool_call_id="call_1", artifact=artifact)
    assert list(artifacts_of(result)) == []
    call = AIMessage("", tool_calls=[{"name": "chart", "args": {}, "id": "call_1", "type": "tool_call"}])
    assert not files(list(parts.replay([call, result], {})))


class FixedAttachments:
    """Implements `bot.chat.Attachments`: notes the messages that it reads."""

    def __init__(self, picture: File) -> None:
        self.messages: list[str] = []
        self._picture = picture

    async def read(self, message: Message) -> AttachmentContent:
        self.messages.append(message.id)
        return AttachmentContent(
            text="[File notes.txt] 4711", pictures=(self._picture,), problems=("I could not read b.zip.",)
        )


def with_files(text: str, attempt: int = 1) -> Turn:
    turn = a_turn(text, attempt=attempt)
    attachment = Attachment(name="notes.txt", media_type="text/plain", size=4, url="file:1")
    return replace(turn, messages=(replace(turn.messages[0], attachments=(attachment,)),))


async def test_files_are_read_once_and_their_problems_said_in_every_attempt(
    redis: Redis, model: ModelServer, picture: File
) -> None:
    attached = FixedAttachments(picture)
    async with an_agent(redis, model, attachments=attached, pictures=FileStore(redis)) as agent:
        first = await parts_of(agent, with_files("what is it?"))
        again = await parts_of(agent, with_files("what is it?", attempt=2))
    assert first[0] == again[0] == Notice("I could not read b.zip.")
    assert len(attached.messages) == 1
    [question] = [each["content"] for each in model.requests[0]["messages"] if each["role"] == "user"]
    assert [each["type"] for each in question] == ["text", "image_url"]


async def test_a_picture_that_is_no_longer_kept_is_left_out(
    redis: Redis, model: ModelServer, picture: File
) -> None:
    attached = FixedAttachments(replace(picture, id="0" * 32))
    async with an_agent(redis, model, attachments=attached, pictures=FileStore(redis)) as agent:
        assert "4711" in str(await parts_of(agent, with_files("what is it?")))


async def test_a_turn_that_is_ended_early_keeps_what_was_read(
    redis: Redis, model: ModelServer, picture: File
) -> None:
    async with an_agent(redis, model, attachments=FixedAttachments(picture)) as agent:
        async with aclosing(agent.answer(with_files("what is it?"))) as answer:  # type: ignore[type-var] # a generator
            async for part in answer:
                if isinstance(part, Text):
                    break
        await agent.conclude(with_files("what is it?"), "Stopped.")
        await parts_of(agent, a_turn("and now?"))
    assert "4711" in str(model.requests[-1]["messages"])
