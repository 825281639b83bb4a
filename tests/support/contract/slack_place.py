"""Place of a story on Slack."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from bot.commands import ask_texts
from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, BOB, GENERAL, TEAM, Message, Slack
from tests.support.contract.place import Name, Sent, Shown
from tests.support.contract.running_bot import RunningBot
from tests.support.table import Shelf
from tests.support.wait import wait_until

_USERS: Mapping[Name, str] = {"alice": ALICE, "bob": BOB}


class SlackPlace:
    """Conversations in a channel and in direct messages; implements `Place`."""

    def __init__(self, slack: Slack, model: ModelServer, redis: Redis, shelf: Shelf, bot: RunningBot) -> None:
        self.slack, self.model, self.redis, self.shelf, self.bot = slack, model, redis, shelf, bot
        self.mention = slack.mention
        self.channel, self.root = GENERAL, ""

    async def connect(self) -> None:
        await self.slack.wait_for_connections()

    async def ask(self, text: str, who: Name = "alice", files: Sequence[Sent] = ()) -> str:
        self.channel, self.root = GENERAL, ""
        return await self._say(who, f"{self.mention} {text}", files)

    async def direct(self, text: str) -> str:
        self.channel, self.root = self.slack.dm(ALICE), ""
        return await self._say("alice", text)

    async def talk(self, who: Name, text: str) -> str:
        self.channel, self.root = GENERAL, ""
        return await self._say(who, text)

    async def say(self, who: Name, text: str) -> str:
        return await self._say(who, text)

    async def _say(self, who: Name, text: str, files: Sequence[Sent] = ()) -> str:
        ts = await self.slack.say(_USERS[who], self.channel, text, self.root or None, files=files)
        self.root = self.root or ts
        return f"slack:{TEAM}:{self.channel}:{ts}"

    def edit(self, id: str, text: str) -> None:
        self.slack.edit(self.channel, id.rpartition(":")[2], text)

    def remove(self, id: str) -> None:
        self.slack.remove(self.channel, id.rpartition(":")[2])

    def messages(self) -> Sequence[Message]:
        """Return the bot's messages in the conversation."""
        return [each for each in self.slack.replies(self.channel, self.root) if each.from_bot]

    def shown(self) -> Sequence[Shown]:
        return [_shown(each) for each in self.messages()]

    def is_in_thread(self) -> bool:
        return self.channel == GENERAL and all(each.thread_ts == self.root for each in self.messages())

    async def press(self, who: Name, label: str) -> str:
        message, action, value = self._element(label)
        before = len(self._private(who))
        await self.slack.press(_USERS[who], self.channel, message.ts, action, value or None)
        await wait_until(lambda: len(self._private(who)) > before, "the press is answered")
        return "\n".join(self._private(who)[before:])

    def _element(self, label: str) -> tuple[Message, str, str]:
        """Return a button or menu of the newest message that has it, with the value of the option."""
        for message in reversed(self.messages()):
            for element in _elements(message):
                value = _value(element, label)
                if value is not None:
                    return message, element["action_id"], value
        raise LookupError(f"there is no {label!r}")

    async def vote(self, who: Name, is_good: bool) -> None:
        button = "positive_button" if is_good else "negative_button"
        message = next(each for each in reversed(self.messages()) if "👍" in _labels(each))
        assert (await self.slack.press(_USERS[who], self.channel, message.ts, "rate", button)).acked

    async def give_reason(self, who: Name, reason: str) -> None:
        def forms() -> list[Any]:
            return [each for each in self.slack.modals if each.user == _USERS[who] and each.is_open]

        await wait_until(lambda: forms() != [], "a form is open")
        assert not (await self.slack.submit(forms()[-1], {"reason": reason})).is_open

    async def command(self, who: Name, name: str, verb: str = "", **options: str) -> str:
        text = " ".join(filter(None, [verb, *options.values()]))
        return await self.slack.command_text(f"/agent-{name}", text, _USERS[who], self.channel)

    async def is_refused(self, who: Name, name: str, verb: str = "", **options: str) -> bool:
        return "Only administrators" in await self.command(who, name, verb, **options)

    async def ask_about(self, who: Name, id: str, question: str) -> None:
        message = (self.channel, id.rpartition(":")[2])
        form = await self.slack.shortcut(ask_texts.ASK_ABOUT, _USERS[who], message)
        assert not (await self.slack.submit(form, {"question": question})).is_open

    def _private(self, who: Name) -> list[str]:
        return [each.visible_text or each.text for each in self.slack.ephemerals if each.user == _USERS[who]]


def _elements(message: Message) -> Iterator[dict[str, Any]]:
    for block in message.blocks:
        if block["type"] in ("actions", "context_actions"):
            yield from block["elements"]


def _value(element: dict[str, Any], label: str) -> str | None:
    """Return the value of a menu's option, an empty string for a button, None for all else."""
    if element["type"] == "static_select":
        return next((each["value"] for each in element["options"] if each["text"]["text"] == label), None)
    return "" if element.get("text", {}).get("text") == label else None


def _labels(message: Message) -> list[str]:
    labels: list[str] = []
    for each in _elements(message):
        if each["type"] == "feedback_buttons":
            labels += ["👍", "👎"]
        elif each["type"] == "static_select":
            labels += [option["text"]["text"] for option in each["options"]]
        else:
            labels.append(each["text"]["text"])
    return labels


def _shown(message: Message) -> Shown:
    steps = [f"{each['title']}: {each.get('output', '')}" for each in message.tasks.values()]
    charts = ["" for each in message.blocks if each["type"] == "data_visualization"]
    said = "\n".join([*steps, message.visible_text])
    raw = f"{message.text} {message.blocks}"
    pings: list[str] = [name for name, id in _USERS.items() if f"<@{id}>" in raw]
    pings += [each for each in ("channel", "here", "everyone") if f"<!{each}" in raw]
    return Shown(
        id=message.ts,
        text=said,
        earlier=[each.shown for each in message.history[:-1]],
        buttons=_labels(message),
        files=[*(each.name for each in message.files), *charts],
        pings=pings,
    )
