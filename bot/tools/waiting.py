"""Tools whose calls wait for a user: for an approval, or for an answer."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.tools import StructuredTool
from pydantic import BaseModel

from bot.chat import Inquiry, Json, Proposal, WaitingCall


@dataclass(frozen=True, slots=True)
class Preview:
    """Description of a call for the approver, with the fields of `bot.chat.Proposal`."""

    title: str
    action: str
    effect: str
    language: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)


class WaitingTool(StructuredTool):
    """Tool whose calls wait for the decision of a request to a user. The agent makes the request."""

    async def waiting_call(self, id: str, arguments: Mapping[str, Any]) -> WaitingCall:
        """Return the call that waits for the request with this id.

        Raises `ToolFailure` and `ValidationError`.
        """
        raise NotImplementedError

    def _validate_arguments(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        schema = self.args_schema
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            model = schema.model_validate(arguments)
            return {name: getattr(model, name) for name in schema.model_fields}
        return arguments


class AskingTool(WaitingTool):
    """Tool that asks users a question; it runs only once somebody has chosen an option."""

    async def waiting_call(self, id: str, arguments: Mapping[str, Any]) -> WaitingCall:
        """Return the question of a call. Raises `ValidationError`."""
        valid = self._validate_arguments(arguments)
        return Inquiry(
            id=id,
            tool=self.name,
            arguments=arguments,
            text=valid["question"],
            options=tuple(valid["options"] or ()),
            anyone=valid["anyone"],
        )


class GuardedTool(WaitingTool):
    """Tool whose calls are shown to an approver first, and run only after an approval.

    `preview` takes the tool's arguments, changes nothing, and raises `ToolFailure` for a call that cannot
    run. The agent requests the approval; the tool gets the approved call from `proposal_of`.
    """

    preview: Callable[..., Awaitable[Preview]]
    outcome: Callable[[Proposal], Awaitable[str]] | None = None
    """Function that returns the outcome of an approved call, in a sentence for users; never raises."""

    async def waiting_call(self, id: str, arguments: Mapping[str, Any]) -> WaitingCall:
        """Return the call with its preview. Raises `ToolFailure` and `ValidationError`."""
        preview = await self.preview_call(arguments)
        return Proposal(
            id=id,
            tool=self.name,
            arguments=arguments,
            title=preview.title,
            action=preview.action,
            effect=preview.effect,
            language=preview.language,
            facts=preview.facts,
        )

    async def preview_call(self, arguments: Mapping[str, Any]) -> Preview:
        """Return the preview of a call with these arguments. Raises `ToolFailure` and `ValidationError`."""
        return await self.preview(**self._validate_arguments(arguments))
