"""Buttons of the Home tab, and the form for feedback.

A button has had its effect before the tab is shown again. If the process ends in between, the user sees the
tab as it was; pressed again, the button changes nothing and shows the tab as it is.
https://docs.slack.dev/interactivity/handling-user-interaction
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Json, Message, PlatformError, PressRefused, Refuse, StorageDown
from bot.chat.texts import NO_STORAGE
from bot.commands import answer_texts
from bot.commands import home_texts as texts
from bot.commands.channel import ChannelCaller
from bot.commands.commands import Commands
from bot.commands.home import check_access
from bot.commands.memory import CONFIRMATION, Caller, PersonalMemory
from bot.platforms import memory_command
from bot.slack.api import SlackApi
from bot.slack.block_text import word
from bot.slack.channel_form import FormPlace, channel_form, is_channel
from bot.slack.home import HomeTabs, Tab, tab_of
from bot.slack.home_forms import FORM, WORDS, feedback_form, feedback_in
from bot.slack.home_view import CHANNEL, EXPORT, FEEDBACK, FORGET, FORGET_ALL, NEWER, OLDER, number_in
from bot.slack.memory_command import send_export
from bot.slack.responses import apology
from bot.slack.timing import Timing

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 4
"""Most buttons of the memory that work at once: the facts of a user are found by a scan."""


def is_home(body: Mapping[str, Json]) -> bool:
    """Return whether a payload of Slack is the press of a button on the Home tab."""
    view = body.get("view")
    return body.get("type") == "block_actions" and isinstance(view, dict) and view.get("type") == "home"


class HomePresses:
    """Presses of buttons on the Home tabs of one workspace, and the feedback that a form brings."""

    def __init__(self, api: SlackApi, tabs: HomeTabs, timing: Timing) -> None:
        self.tabs = tabs
        self._api = api
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)
        self._timing = timing

    async def take(self, body: Mapping[str, Json], commands: Commands) -> None:
        """Do what a button says and show the tab again; return in time for Slack's acknowledgement."""
        for action in body.get("actions") or ():
            work = self.tabs.start(self._press(action, body, commands))
            await asyncio.wait([work], timeout=self._timing.button_timeout)

    async def take_feedback(self, body: Mapping[str, Json], commands: Commands) -> str:
        """Store the feedback of a submitted form; return nothing, or a sentence if it is not stored.

        Sent again, it is recognised by the id of the form.
        """
        try:
            async with asyncio.timeout(self._timing.ack_timeout):
                press = await self.tabs.message_of(tab_of(body, commands, ""))
                refusal = await check_access(commands, press)
                if refusal or commands.answers is None:
                    return refusal.sentence if refusal else answer_texts.REASON_NOT_STORED
                vote, words = feedback_in(body["view"])
                form = f"{press.thread.space} {word(body['view'].get('id'))}"
                await commands.answers.rate_bot(form, press.author, vote, words)
        except PressRefused as refused:
            return str(refused)
        except (PlatformError, StorageDown, TimeoutError) as error:
            log.warning("feedback not stored", extra={"error": repr(error)})
            return answer_texts.REASON_NOT_STORED
        except Exception as error:  # noqa: BLE001 - the outermost boundary of a form: the user gets an answer
            return apology(error)
        return ""

    async def _press(self, action: Mapping[str, Json], body: Mapping[str, Json], commands: Commands) -> None:
        shown = tab_of(body, commands, word(body["view"].get("private_metadata")))
        try:
            press = await self.tabs.message_of(shown)
            if await check_access(commands, press):  # the tab says why
                self.tabs.show(shown)
                return
            done = await self._act(action, press, body, shown)
        except StorageDown as error:
            log.warning("button of a home tab without effect", extra={"error": str(error)})
            done = replace(shown, notice=NO_STORAGE)
        except PlatformError as error:
            log.warning("button of a home tab without effect", extra={"error": str(error)})
            done = replace(shown, notice=texts.NOT_DONE)
        except Exception as error:  # noqa: BLE001 - the outermost boundary of a button: the user gets an answer
            done = replace(shown, notice=apology(error))
        if done:
            self.tabs.show(done)

    async def _act(
        self, action: Mapping[str, Json], press: Message, body: Mapping[str, Json], shown: Tab
    ) -> Tab | None:
        """Do what a button says; return the tab that is shown then, None if it stays as it is.

        The values of a button may be those of an old view, or of nobody's: each is checked here.
        """
        name, value = word(action.get("action_id")), word(action.get("value"))
        if name in (NEWER, OLDER):
            return replace(shown, state=shown.state._replace(first=number_in(value)))
        if name == FEEDBACK:
            return await self._open(feedback_form(shown.state.dump()), body, shown)
        if name == CHANNEL:
            return await self._open_channel(word(action.get("selected_conversation")), press, body, shown)
        if memory := shown.commands.memory:
            caller = Caller(press.author, press.thread.space)
            async with self._slots:
                return replace(shown, notice=await self._change_memory(name, value, memory, caller))
        return shown

    async def _change_memory(self, name: str, value: str, memory: PersonalMemory, caller: Caller) -> str:
        """Return the answer to a button of the memory; nothing for one that only shows the tab again."""
        if name == FORGET and value:
            return await memory_command.run(memory, caller, "forget", value)
        if name == FORGET_ALL:
            return await memory_command.run(memory, caller, "forget", CONFIRMATION)
        if name == EXPORT:
            return await memory_command.export(memory, caller, partial(send_export, self._api, caller))
        return ""

    async def _open_channel(
        self, channel: str, press: Message, body: Mapping[str, Json], shown: Tab
    ) -> Tab | None:
        if shown.commands.channel is None or not is_channel(channel):
            return shown
        by = ChannelCaller(
            author=press.author,
            name=press.author_name,
            channel=self._api.ids.channel(channel),
            is_external=press.is_external,
        )
        form = await shown.commands.channel.read_form(by)
        if isinstance(form, Refuse):
            return replace(shown, notice=form.sentence)
        return await self._open(channel_form(form, FormPlace(channel, shown.state.dump())), body, shown)

    async def _open(self, form: Json, body: Mapping[str, Json], shown: Tab) -> Tab | None:
        try:
            await self._api.write("views.open", trigger_id=word(body.get("trigger_id")), view=form)
        except PlatformError as error:  # a trigger of Slack expires after 3 s
            log.warning("form of a home tab not opened", extra={"error": str(error)})
            return replace(shown, notice=texts.FORM_NOT_OPENED)
        return None


def add_feedback_form(
    app: AsyncApp, commands: Commands, presses_of: Callable[[Mapping[str, Json]], HomePresses]
) -> None:
    """Register the form for feedback with `app`; it stays open until the feedback is stored."""

    async def submit(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        presses = presses_of(body)
        if error := await presses.take_feedback(body, commands):
            await ack(response_action="errors", errors={WORDS: error})
            return
        await ack()
        metadata = word(body["view"].get("private_metadata"))
        presses.tabs.show_again(body, commands, metadata, answer_texts.THANKS)

    app.view(FORM)(submit)
