"""Makes tools of what a plug-in offers: with a name, limits, and a person's approval where that is due."""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from pydantic import ValidationError

from bot.chat.text import find_padding, first_invisible, one_line, visible, well_formed
from bot.config.plugins import Policy
from bot.tools.approval import Preview
from bot.tools.context import proposal_of
from bot.tools.errors import ToolFailure
from bot.tools.plugins.idempotency import Once
from bot.tools.plugins.schemas import Unusable, usable
from bot.tools.plugins.source import (
    Arguments,
    ConnectionLost,
    Offer,
    PluginError,
)
from bot.tools.plugins.tool import ForeignTool, GuardedForeignTool, public_name

log = logging.getLogger(__name__)

MOST_TOOLS = 60
"""Of one plug-in: each is described to the model at every call."""

MOST_RESULT_CHARS = 16_000
MOST_SHOWN_CHARS = 1_500
"""What a person is asked to approve has to fit into one message, and to be read to its end."""

_MOST_TITLE_CHARS = 100
_MOST_EFFECT_CHARS = 200
_MOST_DESCRIPTION_CHARS = 1_000


@dataclass(slots=True)
class Tally:
    """How a plug-in's calls went, for health; `last` is in monotonic seconds."""

    calls: int = 0
    failures: int = 0
    last: float = 0.0
    last_error: str = ""

    def record(self, error: str = "") -> None:
        """Note a call that has ended now."""
        self.calls += 1
        self.last = time.monotonic()
        if error:
            self.failures += 1
            self.last_error = error


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the tools of one plug-in are made with. `refusal` says why it cannot be called now, if so."""

    plugin: str
    policy: Policy
    once: Once
    refusal: Callable[[], str]
    tally: Tally = field(default_factory=Tally)

    def made(self, offers: Sequence[Offer]) -> tuple[list[BaseTool], dict[str, str]]:
        """The tools, and why others were left out, by name. What is not allowed is not mentioned."""
        tools: dict[str, BaseTool] = {}
        left_out: dict[str, str] = {}
        for offer in offers:
            if not self.policy.allows(offer.name):
                continue
            name = public_name(self.plugin, offer.name)
            try:
                _require_room(name, tools)
                tools[name] = self._tool(name, offer)
            except Unusable as error:
                left_out[one_line(visible(offer.name, 60))] = str(error)
        return list(tools.values()), left_out

    def _tool(self, name: str, offer: Offer) -> BaseTool:
        call = _Call(self, name, offer)
        description = visible(offer.description, _MOST_DESCRIPTION_CHARS) or name
        schema = usable(offer.parameters)
        if self.policy.needs_approval(offer.name) or offer.preview:
            return GuardedForeignTool(
                name=name,
                description=description,
                args_schema=schema,
                work=call.approved,
                preview=call.preview,
            )
        return ForeignTool(name=name, description=description, args_schema=schema, work=call.made)


def _require_room(name: str, tools: Collection[str]) -> None:
    if name in tools:
        raise Unusable("another one has the same name")
    if len(tools) == MOST_TOOLS:
        raise Unusable(f"more than {MOST_TOOLS} tools: name those that are wanted in `allow`")


@dataclass(frozen=True, slots=True)
class _Call:
    shop: Workshop
    name: str
    offer: Offer

    async def made(self, arguments: Arguments, config: RunnableConfig) -> str:
        """The result, bounded. Raises nothing but `ToolFailure`, whatever the plug-in does."""
        try:
            result = await self._result(arguments, config)
        except ToolFailure as error:
            self.shop.tally.record(type(error.__cause__).__name__)
            raise
        self.shop.tally.record()
        return result

    async def _result(self, arguments: Arguments, config: RunnableConfig) -> str:
        plugin, seconds = self.shop.plugin, self.shop.policy.timeout
        try:
            async with asyncio.timeout(seconds):
                return bounded(await self.offer.call(arguments, config), MOST_RESULT_CHARS)
        except ToolException as error:
            raise ToolFailure(bounded(str(error), MOST_RESULT_CHARS)) from error
        except ValidationError as error:
            raise ToolFailure(bounded(f"The arguments do not fit: {error}", MOST_RESULT_CHARS)) from error
        except ConnectionLost as error:
            raise ToolFailure(_LOST.format(plugin=plugin)) from error
        except PluginError as error:
            raise ToolFailure(_AWAY.format(plugin=plugin, reason=error)) from error
        except TimeoutError as error:
            raise ToolFailure(_SLOW.format(plugin=plugin, seconds=seconds)) from error
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            # whatever it raises must not end the turn, or the bot; a task of its own may have been cancelled
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            log.warning("plug-in failed", exc_info=True, extra={"plugin": plugin, "tool": self.name})
            raise ToolFailure(_FAILED) from error

    async def approved(self, arguments: Arguments, config: RunnableConfig) -> str:
        """The same for what a person has allowed, which is done at most once."""
        request = proposal_of(config).id
        # the digest: a request's short name might be taken twice in a week
        digest = hashlib.sha256(f"{self.name} {_readable(arguments)}".encode("utf-8", "replace")).hexdigest()
        return await self.shop.once(f"{request}:{digest[:16]}", lambda: self.made(arguments, config))

    async def preview(self, arguments: Arguments) -> Preview:
        """What a person is shown: all of it, as it is. Raises `ToolFailure` when that cannot be."""
        if reason := self.shop.refusal():
            raise ToolFailure(_AWAY.format(plugin=self.shop.plugin, reason=reason))
        if self.offer.preview:
            preview = await self._own_preview(self.offer.preview(arguments))
        else:
            try:
                action = _readable(arguments)
            except RecursionError as error:
                raise ToolFailure(_LONG) from error
            preview = Preview(
                title=f"Run {self.name}",
                action=action,
                effect=f"The plug-in {self.shop.plugin} would run its tool {self.name} with these arguments.",
                language="json",
            )
        if len(preview.action) > MOST_SHOWN_CHARS:
            raise ToolFailure(_LONG)
        if hidden := first_invisible(preview.action):
            raise ToolFailure(f"The arguments hold a character that cannot be seen ({hidden!r}).")
        if padding := find_padding(preview.action):
            raise ToolFailure(
                f"The arguments hold {padding}, which would hide what follows. Write them without."
            )
        if "```" in preview.action:
            raise ToolFailure("The arguments hold ```, which would end the block of code that shows them.")
        return replace(
            preview,
            title=one_line(visible(preview.title, _MOST_TITLE_CHARS)),
            effect=one_line(visible(preview.effect, _MOST_EFFECT_CHARS)),
        )

    async def _own_preview(self, preview: Awaitable[Preview]) -> Preview:
        try:
            async with asyncio.timeout(self.shop.policy.timeout):
                return _checked(await preview)
        except (ToolException, ValidationError):
            raise  # words for the model, as they are
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # as for a call
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            log.warning(
                "plug-in failed", exc_info=True, extra={"plugin": self.shop.plugin, "tool": self.name}
            )
            raise ToolFailure(_FAILED) from error


def _checked(preview: object) -> Preview:
    if not isinstance(preview, Preview):
        raise TypeError(f"a preview that is {type(preview).__name__}")
    return preview


def _is_cancelled() -> bool:
    """Return whether whoever waits for the call has cancelled it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _readable(arguments: Mapping[str, object]) -> str:
    return json.dumps(arguments, indent=2, ensure_ascii=False)


_AWAY = "The plug-in {plugin} cannot be reached: {reason}. Nothing was done. Go on without it, or say so."
_LOST = (
    "The connection to the plug-in {plugin} was lost before it answered. It is not known whether it has done "
    "anything; do not simply call it again if it changes something."
)
_SLOW = (
    "The plug-in {plugin} gave no answer within {seconds:g} s. It is not known whether it has done anything; "
    "do not simply call it again if it changes something."
)
_FAILED = "The tool failed for a reason of its own; the operator's log has it."
_LONG = (
    f"A person has to approve this and to see all of it: write at most {MOST_SHOWN_CHARS:,} characters of "
    "arguments. Do it in smaller steps."
)


def bounded(text: str, limit: int) -> str:
    """Return the beginning of a result, fit to be stored, with a note to the model when there was more."""
    storable = well_formed(text[:limit].replace("\0", " "))
    if len(text) <= limit:
        return storable
    return f"{storable}\n[cut here: {len(text) - limit:,} more characters; ask for less]"
