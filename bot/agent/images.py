"""Pictures of the newest messages, added to the prompt.

The state holds only their ids, because each superstep writes it whole to Redis. Pictures of earlier turns are
not sent again.
"""

import base64
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage

from bot.chat import Files

PICTURES = "pictures"
"""Key of a message's picture ids in `additional_kwargs`."""


async def add_pictures(messages: Sequence[AnyMessage], files: Files) -> list[AnyMessage]:
    """Return the messages with the pictures that are still kept. Raises `StorageDown`."""
    shown = list(messages)
    for at in _question_positions(messages):
        shown[at] = await _with_pictures(messages[at], files)
    return shown


def _question_positions(messages: Sequence[AnyMessage]) -> range:
    """Return the positions of the messages to answer: the last human messages in a row."""
    is_human = [isinstance(message, HumanMessage) for message in messages]
    if True not in is_human:
        return range(0)
    end = len(is_human) - is_human[::-1].index(True)
    start = end
    while start > 0 and is_human[start - 1]:
        start -= 1
    return range(start, end)


async def _with_pictures(message: AnyMessage, files: Files) -> AnyMessage:
    ids: Sequence[str] = message.additional_kwargs.get(PICTURES, ())
    found = [each for id in ids if (each := await files.find(id)) is not None]
    if not found:
        return message
    content: list[dict[str, Any]] = [{"type": "text", "text": message.text}]
    for file, data in found:
        address = f"data:{file.media_type};base64,{base64.b64encode(data).decode()}"
        content.append({"type": "image_url", "image_url": {"url": address}})
    return message.model_copy(update={"content": content})
