"""`/ask` and the menu of a message on Discord: a question is stored, shown, and answered like a mention.

Discord never repeats an interaction: what is not stored is lost, and is not shown as a question either.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import discord
from discord import app_commands

from bot.chat import Attachment, Event, Message, Quote, Receipt, Undeliverable, harmless
from bot.chat.text import one_line
from bot.commands import ask_texts as texts
from bot.discord.api import DiscordApi
from bot.discord.events import TOKEN, id_of, parse_question
from bot.discord.part_timeout import PartTimeout
from bot.discord.quotes import attachments_of, quote_of
from bot.discord.responses import Interaction, apologise, edit_response

log = logging.getLogger(__name__)

_MOST_QUESTION = 4_000
_MOST_SHOWN = 1_500
_FORM_SECONDS = 900.0
"""Seconds that a form is kept, as that of `/agent-redis`."""

HandOver = Callable[[Event, int], Awaitable[None]]
"""Function that stores an event of a channel, and retries until it is stored or a time is over."""


def add_ask(
    tree: app_commands.CommandTree[discord.Client], hand_over: HandOver, join: Callable[[], None]
) -> None:
    """Register `/ask` and the menu with `tree`. `join` counts the task in which a form is handled."""

    @app_commands.command(name="ask", description=texts.COMMAND)
    @app_commands.describe(
        question=texts.OPTION_QUESTION, attachment=texts.OPTION_ATTACHMENT, private=texts.OPTION_PRIVATE
    )
    async def ask(
        interaction: Interaction,
        question: app_commands.Range[str, 1, _MOST_QUESTION],
        attachment: discord.Attachment | None = None,
        private: bool = False,
    ) -> None:
        files = attachments_of([attachment] if attachment else [])
        await take(interaction, hand_over, question, files, is_private=private)

    async def ask_about(interaction: Interaction, message: discord.Message) -> None:
        await interaction.response.send_modal(Form(message, hand_over, join))

    tree.add_command(ask)
    tree.add_command(app_commands.ContextMenu(name=texts.ASK_ABOUT, callback=ask_about))


class Form(discord.ui.Modal, title=texts.ASK):
    """Form for a question about a message. It is lost when the process ends, before anything is taken."""

    def __init__(self, message: discord.Message, hand_over: HandOver, join: Callable[[], None]) -> None:
        super().__init__(timeout=_FORM_SECONDS)
        self._message = message
        self._hand_over = hand_over
        self._join = join
        self._question = discord.ui.TextInput[Form](
            custom_id="question",
            style=discord.TextStyle.paragraph,
            max_length=_MOST_QUESTION,
            required=False,
        )
        self.add_item(discord.ui.Label(text=texts.FORM_QUESTION, component=self._question))

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Count the task of the submitted form; discord.py calls this first."""
        self._join()
        return True

    async def on_submit(self, interaction: Interaction, /) -> None:
        """Take the question, with the message as a quote."""
        await take(
            interaction,
            self._hand_over,
            self._question.value.strip() or texts.ABOUT,
            attachments_of(self._message.attachments),
            quotes=[quote_of(self._message, texts.SUBJECT)],
        )

    async def on_error(  # type: ignore[override]  # discord.py's own Modal differs from its base, too
        self, interaction: Interaction, error: Exception, /
    ) -> None:
        """Answer with a sentence, as `discord.ui.Modal.on_error` is expected to."""
        await apologise(interaction, error)


async def take(
    interaction: Interaction,
    hand_over: HandOver,
    question: str,
    files: Sequence[Attachment] = (),
    *,
    quotes: Sequence[Quote] = (),
    is_private: bool = False,
) -> None:
    """Store a question and show it; the answer is private if wanted, or if the bot cannot write there.

    Until it is stored, Discord shows that the bot is thinking. After a crash in between, the turn shows it
    (`show_questions`), or Discord says that there is no answer.
    """
    is_private = is_private or not _can_write(interaction)
    response = await interaction.response.defer(ephemeral=is_private, thinking=True)
    message = parse_question(
        interaction, _message_of(response), question, files, quotes, is_private=is_private
    )
    try:
        await hand_over(message, interaction.channel_id or 0)
    except Exception:  # the outermost boundary of a command: logged, and the user gets an answer
        log.exception("question not taken")
        await interaction.edit_original_response(content=texts.NOT_TAKEN)
        return
    if not is_private:
        try:
            await edit_response(interaction.client, interaction.token, _shown(message))
        except discord.HTTPException as error:  # the question is stored: it must not be asked again
            log.warning("question not shown", extra={"error": str(error)})


async def show_questions(api: DiscordApi, receipt: Receipt, part_timeout: PartTimeout) -> None:
    """Show the questions of commands in a turn, if a crash has prevented that; nothing is shown twice.

    An answer, and a thread, can only follow a message that is not “thinking” any more. Key of the receipt:
    `asked`, set once they are shown.
    """
    # others are typed, or decisions of requests
    asked = [each for each in receipt.turn.messages if TOKEN in each.place and each.id == _shown_as(each)]
    if not asked or receipt.state.get("asked"):
        return
    for each in asked:
        text, token = _shown(each), each.place[TOKEN]
        try:
            async with part_timeout.limit("question"):
                await api.request(partial(edit_response, token=token, content=text), receipt.hold)
        except Undeliverable as error:
            log.info("question not shown by its command", extra={"error": str(error)})
            await _show_later(api, each, text, receipt)
    receipt.note(asked=True)


def _shown_as(question: Message) -> str:
    return id_of(int(question.place["message"]))


async def _show_later(api: DiscordApi, question: Message, text: str, receipt: Receipt) -> None:
    """Show a question after its interaction has ended, as a message of the bot like others."""
    try:
        await api.edit(int(question.channel), int(question.place["message"]), text, hold=receipt.hold)
    except Undeliverable as error:  # deleted, or the bot has lost its access
        log.info("question not shown", extra={"error": str(error)})


def _message_of(response: "discord.InteractionCallbackResponse[Any] | None") -> discord.InteractionMessage:
    shown = response.resource if response else None
    if not isinstance(shown, discord.InteractionMessage):
        raise TypeError("Discord did not return the message of an interaction")
    return shown


def _can_write(interaction: Interaction) -> bool:
    """Return whether the bot can answer in the channel: it is in the server, or it is its direct message.

    The direct messages of two other users differ from those with the bot only in the context.
    """
    if interaction.guild_id is None:
        return interaction.context.dm_channel is True
    if not interaction.is_guild_integration():
        return False
    allowed = interaction.app_permissions
    in_thread = isinstance(interaction.channel, discord.Thread)
    return allowed.view_channel and (allowed.send_messages_in_threads if in_thread else allowed.send_messages)


def _shown(question: Message) -> str:
    """Return the question as a quote: nothing in it is markup, or looks like a request of the bot."""
    name = discord.utils.escape_markdown(harmless(one_line(question.author_name, 60)))
    words = discord.utils.escape_markdown(harmless(one_line(question.text, _MOST_SHOWN // 2)))
    return f"**{texts.asked(name)}**\n> {words}"
