"""Tools that do nothing before a person allows it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.tools import StructuredTool
from pydantic import BaseModel

from bot.chat import Json, Proposal


@dataclass(frozen=True, slots=True)
class Preview:
    """What a call would do, as the person who is to allow it reads it; see `bot.chat.Proposal`."""

    title: str
    action: str
    effect: str
    language: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)


class GuardedTool(StructuredTool):
    """A tool whose calls are shown to a person first, and run only if that person allows them.

    `preview` takes the tool's arguments, changes nothing, and raises `ToolFailure` for a call that could not
    run in any case. The agent sees to the rest; the tool itself finds what was approved with `proposal_of`.
    """

    preview: Callable[..., Awaitable[Preview]]
    outcome: Callable[[Proposal], Awaitable[str]] | None = None
    """What came of an approved call, in a sentence for people; never raises."""

    async def preview_call(self, arguments: Mapping[str, Any]) -> Preview:
        """What a call with these arguments would do. Raises `ToolFailure` and `ValidationError`."""
        return await self.preview(**self._checked(arguments))

    def _checked(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        schema = self.args_schema
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            model = schema.model_validate(arguments)
            return {name: getattr(model, name) for name in schema.model_fields}
        return arguments
