"""`/ask` and the menu of a message on Discord: a question is shown, stored, and answered like a mention.

Discord never repeats an interaction. Until the question is stored, a line below it says so.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import discord
from discord import app_commands

from bot.chat import Attachment, Event, Quote
from bot.chat.text import one_line
from bot.commands import ask_texts as texts
from bot.discord.events import parse_question
from bot.discord.quotes import attachments_of, quote_of
from bot.discord.responses import Interaction, apologise

log = logging.getLogger(__name__)

_NO_PINGS = discord.AllowedMentions.none()
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
    """Show a question and store it; the answer is private if wanted, or if the bot cannot write there."""
    is_private = is_private or not _can_write(interaction)
    if is_private:
        response = await interaction.response.defer(ephemeral=True, thinking=True)
    else:
        shown = _shown(interaction, question)
        response = await interaction.response.send_message(
            f"{shown}\n{texts.TAKING}",
            allowed_mentions=_NO_PINGS,
            suppress_embeds=True,
        )
    message = parse_question(
        interaction, _message_of(response), question, files, quotes, is_private=is_private
    )
    try:
        await hand_over(message, interaction.channel_id or 0)
    except Exception:  # the outermost boundary of a command: the user gets an answer
        log.exception("question not taken")
        await interaction.edit_original_response(content=texts.NOT_TAKEN)
        return
    if not is_private:
        try:
            await interaction.edit_original_response(content=shown, allowed_mentions=_NO_PINGS)
        except discord.HTTPException as error:  # the question is stored: it must not be asked again
            log.warning("question not shown as taken", extra={"error": str(error)})


def _message_of(response: "discord.InteractionCallbackResponse[Any] | None") -> discord.InteractionMessage:
    shown = response.resource if response else None
    if not isinstance(shown, discord.InteractionMessage):
        raise TypeError("Discord did not return the message of an interaction")
    return shown


def _can_write(interaction: Interaction) -> bool:
    """Return whether the bot can answer in the channel: it is in the server, or it is its direct message."""
    if interaction.guild_id is None:
        return isinstance(interaction.channel, discord.DMChannel)
    if not interaction.is_guild_integration():
        return False
    allowed = interaction.app_permissions
    in_thread = isinstance(interaction.channel, discord.Thread)
    return allowed.view_channel and (allowed.send_messages_in_threads if in_thread else allowed.send_messages)


def _shown(interaction: Interaction, question: str) -> str:
    """Return the question as a quote in which nothing is markup."""
    name = discord.utils.escape_markdown(one_line(interaction.user.display_name, 60))
    words = discord.utils.escape_markdown(one_line(question, _MOST_SHOWN // 2))
    return f"**{texts.asked(name)}**\n> {words}"
