"""Model of a storm: it answers with the tokens of the questions, and remembers what it was given."""

import re
from collections.abc import Sequence
from typing import Any

from tests.servers.model import Script
from tests.storm.orders import Orders
from tests.storm.talks import OPTIONS, own_words
from tests.support.questions import asking

Json = Any

_TOKEN = re.compile(r"\bq\d+\b")
_SHOW = re.compile(r"\[show:\w+\]")
_LONG, _PACE = 60, 0.2
"""Number of words of a long answer, and the seconds between two of them."""


class Thinker:
    """Model that recognises by a word what it has to do: `order`, `choose`, `long`, `[show:…]`."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._conversations: dict[str, list[Json]] = {}

    def texts(self, token: str) -> Sequence[str]:
        """Return what users wrote in the last request that had to answer a token."""
        messages = self._conversations.get(token, [])
        return [message["content"] for message in messages if message["role"] == "user"]

    def respond(self, request: dict[str, Json]) -> Script | str:
        """Answer with the tokens that were not answered in this conversation yet."""
        asked: list[str] = []
        is_asking = False
        for message in request["messages"]:
            if message["role"] == "assistant" and not message.get("tool_calls"):
                asked = []
                is_asking = False
            elif message["role"] == "assistant":
                is_asking = is_asking or "ask_user" in str(message["tool_calls"])
            elif message["role"] == "user":
                asked.append(own_words(message["content"]))
        text = "\n".join(asked)
        unanswered = _TOKEN.findall(text)
        if "order q" in text and request["messages"][-1]["role"] == "user":
            return self._orders.of(unanswered[-1])
        if "choose q" in text and not is_asking:
            return asking("Which fruit?", OPTIONS)
        for token in unanswered:
            self._conversations[token] = request["messages"]
        answer = "This is the answer to " + " and ".join(unanswered) + ", and nothing else."
        if "long q" in text:
            return Script(text=answer + " more" * _LONG, pace=_PACE)
        return " ".join([answer, *_SHOW.findall(text)])


def tokens_in(text: str) -> list[str]:
    """Return the tokens in a text."""
    return _TOKEN.findall(text)
