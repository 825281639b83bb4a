"""Replies as the inbox runs them."""

from collections.abc import AsyncIterator

from bot.chat import LeaseLost, Part, Receipt, Thread


async def run_reply(thread: Thread, parts: AsyncIterator[Part], receipt: Receipt) -> None:
    """Run a reply, and store what it has noted, unless it has lost its lease.

    The inbox stores it only after an error; the tests also look at the receipt of a reply that has ended.
    """
    try:
        await thread.reply(parts, receipt)
    except LeaseLost:
        raise
    except BaseException:  # raised again; the inbox stores the notes after any error, too
        await receipt.flush()
        raise
    await receipt.flush()
