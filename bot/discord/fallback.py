"""Last resort for an answer that cannot be shown where it was asked for: its author is notified elsewhere."""

import logging
from functools import partial

from bot.chat import PlatformError, RateLimited, Receipt, Undeliverable
from bot.discord import destination as destinations
from bot.discord import texts
from bot.discord.api import DiscordApi
from bot.discord.destination import Destination
from bot.discord.errors import NO_ACCESS, NO_PERMISSION, ThreadLocked, code_of, reason
from bot.discord.messages import nonce_of
from bot.discord.part_timeout import PartTimeout
from bot.discord.refusals import Refusals
from bot.platforms.fallback import Way, notify
from bot.platforms.texts import answer, not_shown

log = logging.getLogger(__name__)

_LONG_WAIT = 60.0
"""Seconds from which a wait for Discord is told."""


async def notify_author(api: DiscordApi, receipt: Receipt, error: Exception, refusals: Refusals) -> bool:
    """Tell the author of a question once why the answer cannot be shown; return whether that was possible.

    The parent of the thread is tried first, then the author's direct messages. A missing permission is not
    told again with each question.
    """
    question = receipt.turn.messages[-1]
    channel = str(receipt.state.get("moved_from") or receipt.state.get("channel", question.channel))
    author = _author_of(receipt)
    if not author:
        return False
    elsewhere = destinations.elsewhere(receipt.turn, Destination(int(channel)))
    place, why = question.parent or question.channel, reason(error)
    is_forbidden = code_of(error) in (NO_ACCESS, NO_PERMISSION)
    if is_forbidden:
        if refusals.is_told(place, [author, *(str(each.channel) for each in elsewhere)]):
            log.info("missing permissions told before", extra={"channel": channel})
            return True
        if missing := await refusals.find_missing(channel, place):
            why = texts.permissions_missing(missing, f"<#{place}>")
    text = f"<@{author}> {not_shown(answer(f'<#{channel}>'), why)}"

    async def say(destination: Destination, told_to: str) -> None:
        await _say(api, receipt, destination, text, f"elsewhere {destination.channel}")
        if is_forbidden:
            refusals.note_told(place, told_to)

    async def say_directly() -> None:
        await say(Destination(await api.open_direct(int(author))), author)

    ways: list[Way] = [
        ({"channel": each.channel}, partial(say, each, str(each.channel))) for each in elsewhere
    ]
    return await notify([*ways, ({"channel": "direct messages"}, say_directly)])


async def move_to_author(
    api: DiscordApi, receipt: Receipt, error: ThreadLocked, part_timeout: PartTimeout
) -> Destination:
    """Continue a reply in its author's direct messages, and say why. Raises `error` if that is impossible.

    What is shown in the thread stays there; the receipt begins again in the new place.
    """
    author, channel = _author_of(receipt), receipt.state.get("channel")
    if not author or receipt.state.get("moved"):
        raise error
    try:
        async with part_timeout.limit("move"):
            direct = Destination(await api.open_direct(int(author)))
            await _say(api, receipt, direct, texts.answered_here(f"<#{channel}>"), "moved")
    except Undeliverable as refusal:
        log.info("answer not moved to direct messages", extra={"error": str(refusal)})
        raise error from refusal
    await receipt.save(
        channel=str(direct.channel),
        reply_to=None,
        moved=True,
        moved_from=channel,
        messages=[],
        shown=0,
        sending=None,
        obsolete=None,
        plain=[],
        replaced=[],
        cut_short=False,
        failing={},
    )
    log.warning("answer moved to direct messages", extra={"channel": channel, "reason": str(error)})
    return direct


async def announce_delay(api: DiscordApi, receipt: Receipt, error: RateLimited) -> None:
    """Tell the author once, in direct messages, that a limit of the channel delays the answer.

    Key of the receipt: `delayed`. Never raises `PlatformError`: a limit may hold everywhere.
    """
    author = _author_of(receipt)
    if not author or error.retry_after < _LONG_WAIT or receipt.state.get("delayed"):
        return
    channel = receipt.state.get("channel", receipt.turn.messages[-1].channel)
    try:
        direct = Destination(await api.open_direct(int(author)))
        await _say(api, receipt, direct, texts.delayed(f"<#{channel}>", error.retry_after), "delayed")
    except PlatformError as failure:
        log.info("delay not told", extra={"channel": channel, "error": str(failure)})
    else:
        await receipt.save(delayed=True)
        log.warning("answer delayed", extra={"channel": channel, "seconds": error.retry_after})


def _author_of(receipt: Receipt) -> str:
    """Return the id of the user who can be notified; nothing for bots, and in their direct messages."""
    question = receipt.turn.messages[-1]
    return "" if question.direct or question.bot_ids else question.place.get("author", "")


async def _say(api: DiscordApi, receipt: Receipt, to: Destination, text: str, purpose: str) -> None:
    """Say something to the author, once in a turn for each purpose."""
    await api.send(
        to.channel,
        text,
        nonce=nonce_of(receipt.turn, purpose),
        reply_to=to.reply_to,
        hold=receipt.hold,
        tell=[int(_author_of(receipt))],
    )
