"""Last resort for an answer that cannot be shown: the author of the question is notified elsewhere."""

from functools import partial

from bot.chat import Receipt
from bot.discord import destination as destinations
from bot.discord.api import DiscordApi
from bot.discord.destination import Destination
from bot.discord.errors import reason
from bot.discord.messages import nonce_of
from bot.platforms.fallback import Way, notify
from bot.platforms.texts import answer, not_shown


async def notify_author(api: DiscordApi, receipt: Receipt, error: Exception) -> bool:
    """Tell the author of a question once why the answer cannot be shown; return whether that was possible.

    The parent of the thread is tried first, then the author's direct messages.
    """
    turn = receipt.turn
    question = turn.messages[-1]
    channel = receipt.state.get("channel", question.channel)
    author = question.place.get("author", "")
    if question.direct or question.bot_ids or not author:
        return False
    text = f"<@{author}> {not_shown(answer(f'<#{channel}>'), reason(error))}"
    user = int(author)

    async def say(destination: Destination) -> None:
        await api.send(
            destination.channel,
            text,
            nonce=nonce_of(turn, f"elsewhere {destination.channel}"),
            reply_to=destination.reply_to,
            hold=receipt.hold,
            tell=[user],
        )

    async def say_directly() -> None:
        await say(Destination(await api.open_direct(user)))

    ways: list[Way] = [
        ({"channel": each.channel}, partial(say, each))
        for each in destinations.elsewhere(turn, Destination(int(channel)))
    ]
    return await notify([*ways, ({"channel": "direct messages"}, say_directly)])
