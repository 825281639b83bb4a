"""Construction of tools from a plug-in's offers: name, limits, and approval where it is required."""

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
from bot.tools.waiting import Preview

log = logging.getLogger(__name__)

MOST_TOOLS = 60
"""Most tools of one plug-in: each is described to the model in every request."""

MOST_RESULT_CHARS = 16_000
MOST_SHOWN_CHARS = 1_500
"""Most characters of an action to approve: it must fit into one message and be read to its end."""

_MOST_TITLE_CHARS = 100
_MOST_EFFECT_CHARS = 200
_MOST_DESCRIPTION_CHARS = 1_000


@dataclass(slots=True)
class Tally:
    """Counters of a plug-in's calls, for health; `last` is in monotonic seconds."""

    calls: int = 0
    failures: int = 0
    last: float = 0.0
    last_error: str = ""

    def record(self, error: str = "") -> None:
        """Record a call that has ended now."""
        self.calls += 1
        self.last = time.monotonic()
        if error:
            self.failures += 1
            self.last_error = error


@dataclass(frozen=True, slots=True)
class Workshop:
    """Builder of one plug-in's tools; `refusal` returns why the plug-in cannot be called now, or nothing."""

    plugin: str
    policy: Policy
    once: Once
    refusal: Callable[[], str]
    tally: Tally = field(default_factory=Tally)

    def build(self, offers: Sequence[Offer]) -> tuple[list[BaseTool], dict[str, str]]:
        """Return the tools, and by name the reasons why others were left out, except forbidden ones."""
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
                work=call.run_approved,
                preview=call.preview,
            )
        return ForeignTool(name=name, description=description, args_schema=schema, work=call.run)


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

    async def run(self, arguments: Arguments, config: RunnableConfig) -> str:
        """Return the bounded result. Raises only `ToolFailure`, whatever the plug-in does."""
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
                return limit_text(await self.offer.call(arguments, config), MOST_RESULT_CHARS)
        except (ToolException, ToolFailure) as error:
            raise ToolFailure(limit_text(str(error), MOST_RESULT_CHARS)) from error
        except ValidationError as error:
            raise ToolFailure(limit_text(f"{_INVALID}\n{error}", MOST_RESULT_CHARS)) from error
        except ConnectionLost as error:
            raise ToolFailure(_LOST.format(plugin=plugin)) from error
        except PluginError as error:
            raise ToolFailure(_AWAY.format(plugin=plugin, reason=error)) from error
        except TimeoutError as error:
            raise ToolFailure(_SLOW.format(plugin=plugin, seconds=seconds)) from error
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            # no error of a plug-in may end the turn or the bot; it may also cancel a task of its own
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            log.warning("plug-in failed", exc_info=True, extra={"plugin": plugin, "tool": self.name})
            raise ToolFailure(_FAILED) from error

    async def run_approved(self, arguments: Arguments, config: RunnableConfig) -> str:
        """Run an approved call at most once and return its result. Raises `ToolFailure`."""
        request = proposal_of(config).id
        # with a digest, because short request ids may repeat within a week
        digest = hashlib.sha256(f"{self.name} {_readable(arguments)}".encode("utf-8", "replace")).hexdigest()
        return await self.shop.once(f"{request}:{digest[:16]}", lambda: self.run(arguments, config))

    async def preview(self, arguments: Arguments) -> Preview:
        """Return the complete preview for the approver. Raises `ToolFailure` if it cannot be shown."""
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
            raise ToolFailure(f"The arguments contain an invisible character ({hidden!r}).")
        if padding := find_padding(preview.action):
            raise ToolFailure(
                f"The arguments contain {padding}, which would hide the rest.\nWrite them without."
            )
        if "```" in preview.action:
            raise ToolFailure("The arguments contain ```, which would end the code block that shows them.")
        return replace(
            preview,
            title=one_line(visible(preview.title, _MOST_TITLE_CHARS)),
            effect=one_line(visible(preview.effect, _MOST_EFFECT_CHARS)),
        )

    async def _own_preview(self, preview: Awaitable[Preview]) -> Preview:
        try:
            async with asyncio.timeout(self.shop.policy.timeout):
                return _check(await preview)
        except (ToolException, ToolFailure, ValidationError):
            raise  # texts for the model
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # as for a call
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            log.warning(
                "plug-in failed", exc_info=True, extra={"plugin": self.shop.plugin, "tool": self.name}
            )
            raise ToolFailure(_FAILED) from error


def _check(preview: object) -> Preview:
    if not isinstance(preview, Preview):
        raise TypeError(f"a preview that is {type(preview).__name__}")
    return preview


def _is_cancelled() -> bool:
    """Return True if the caller has cancelled the call."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _readable(arguments: Mapping[str, object]) -> str:
    return json.dumps(arguments, indent=2, ensure_ascii=False)


_AWAY = "The plug-in {plugin} cannot be reached: {reason}. Nothing was done.\nContinue without it, or say so."
_LOST = (
    "The connection to the plug-in {plugin} was lost before it answered. It is unknown whether it has done "
    "anything.\nDo not simply call it again if it changes something."
)
_SLOW = (
    "The plug-in {plugin} did not answer within {seconds:g} s. It is unknown whether it has done anything.\n"
    "Do not simply call it again if it changes something."
)
_INVALID = "The tool call has invalid arguments."
_FAILED = "The tool failed with an internal error. The operator's log has more."
_LONG = (
    f"The arguments are longer than the {MOST_SHOWN_CHARS:,} characters that an approver can see at once.\n"
    "Do it in smaller steps."
)


def limit_text(text: str, limit: int) -> str:
    """Return the first `limit` characters of a result, storable, with a note to the model if it was cut."""
    storable = well_formed(text[:limit].replace("\0", " "))
    if len(text) <= limit:
        return storable
    return f"{storable}\n[cut here: {len(text) - limit:,} more characters; ask for less]"
