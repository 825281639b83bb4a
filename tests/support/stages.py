"""Stages of a story on Slack and on Discord: the whole bot, and people who use the chat service."""

import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Protocol

from redis.asyncio import Redis

from bot.commands.commands import STOP
from bot.composition.evaluation.checks import Answer
from bot.composition.evaluation.scenario import BOT, DIRECT, MENTION, Says, Scenario
from bot.composition.evaluation.story import CannotAct, Stage, written
from bot.inbox import keys
from tests.servers.discord import service as discord_service
from tests.servers.discord.service import Channel, Discord
from tests.servers.slack.service import BOT_USER, GENERAL, Message, Slack
from tests.support.settings import of_discord, of_slack
from tests.support.wait import wait_until

_TOOL_LINE = re.compile(r"^-# .*\n?", re.MULTILINE)
"""Line of a tool at work on Discord; Slack shows a card."""


class BotStage(Stage, Protocol):
    """Stage that a bot with these settings has entered."""

    settings: dict[str, Any]

    async def connect(self) -> None:
        """Wait until the bot hears what is said."""


class SlackStage:
    """Story in channels and direct messages of Slack."""

    def __init__(self, scenario: Scenario, slack: Slack, redis: Redis) -> None:
        self._slack, self._redis = slack, redis
        self._users = {name: f"U00{name.upper()}" for name in scenario.people}
        self._channels = {name: f"C00{name.upper()}" for name in scenario.places} | {"general": GENERAL}
        slack.workspace.users |= {id: name for name, id in self._users.items()}
        for id in self._channels.values():
            if id != GENERAL:
                slack.add_channel(id)
            slack.workspace.channels[id].members |= set(self._users.values())
        self.settings = of_slack(slack) | people_settings(scenario, "slack", self._users)
        self._known: dict[str, Message] = {}
        self._channel = GENERAL
        self._root = ""
        self._read: set[str] = set()
        self._said: list[str] = []

    async def connect(self) -> None:
        await self._slack.wait_for_connections()

    async def say(self, step: Says) -> None:
        user = self._users[step.person]
        if step.replies_to:
            known = self._known[step.replies_to]
            self._channel, self._root = known.channel, known.root
        elif step.place:
            self._channel = self._slack.dm(user) if step.place == DIRECT else self._channels[step.place]
            self._root = ""
        files = [(step.file.name, "text/plain", step.file.text.encode())] if step.file else []
        text, root = self._written(step), self._root or None
        ts = await self._slack.say(user, self._channel, text, root, files=files)
        self._root = self._root or ts
        if step.id:
            self._known[step.id] = self._slack.message(self._channel, ts)
        await self._slack.wait_until_settled()

    def _written(self, step: Says) -> str:
        names = {BOT: BOT_USER, **self._users}
        return written(step.text, lambda name: f"<@{names[name]}>" if name in names else None, self._link)

    def _link(self, name: str) -> str:
        known = self._known[name]
        thread = f"?thread_ts={known.thread_ts}&cid={known.channel}" if known.thread_ts else ""
        return f"<https://test.slack.com/archives/{known.channel}/p{known.ts.replace('.', '')}{thread}>"

    async def edit(self, step: Says) -> None:
        known = self._known[step.edits or ""]
        self._slack.edit(known.channel, known.ts, self._written(step))
        await self._slack.wait_until_settled()

    async def press(self, step: Says) -> None:
        await wait_until_idle(self._redis)
        user, before = self._users[step.person], len(self._slack.ephemerals)
        for message in reversed(self._replies()):
            for block in message.blocks:
                for element in block["elements"] if block["type"] == "actions" else ():
                    if element.get("text", {}).get("text") == step.button:
                        await self._slack.press(user, self._channel, message.ts, element["action_id"])
                        await wait_until(
                            lambda: len(self._slack.ephemerals) > before, "the press is answered"
                        )
                        return
        raise CannotAct(f"there is no button {step.button}")

    async def command(self, step: Says) -> None:
        word, _, text = step.text.partition(" ")
        channel = self._channels[step.place] if step.place else self._channel
        self._said.append(await self._slack.command_text(word, text, self._users[step.person], channel))

    async def answer_begins(self) -> None:
        await wait_until(lambda: any(each.visible_text for each in self._new()), "an answer begins")

    async def answer(self) -> Answer:
        await wait_until_idle(self._redis)
        new = self._new()
        self._read |= {each.ts for each in new}
        said, self._said = self._said, []
        texts = [each.visible_text for each in new]
        files = [file.name for each in new for file in each.files]
        return Answer("\n\n".join(filter(None, [*said, *texts])), (), tuple(files))

    def _replies(self) -> Sequence[Message]:
        return [each for each in self._slack.replies(self._channel, self._root) if each.from_bot]

    def _new(self) -> Sequence[Message]:
        return [each for each in self._replies() if each.ts not in self._read]


class DiscordStage:
    """Story in channels and direct messages of Discord."""

    def __init__(self, scenario: Scenario, discord: Discord, redis: Redis, taken: "TakenEvents") -> None:
        self._discord, self._redis, self._taken = discord, redis, taken
        roles = scenario.settings
        self._users = {
            name: discord.add_user(name, administrator=name in roles.administrators)
            for name in scenario.people
        }
        self._channels = {
            name: discord.general if name == "general" else discord.add_channel(name)
            for name in scenario.places
        }
        ids = {name: str(user.id) for name, user in self._users.items()}
        self.settings = of_discord(discord) | people_settings(scenario, "discord", ids)
        self._known: dict[str, discord_service.Message] = {}
        self._place: Channel = discord.general
        self._root: discord_service.Message | None = None
        self._read: set[int] = set()
        self._said: list[str] = []

    async def connect(self) -> None:
        await self._discord.wait_for_connections()

    async def say(self, step: Says) -> None:
        user, reply_to, begins = self._users[step.person], None, self._root is None
        if step.replies_to:
            reply_to = self._known[step.replies_to]
            self._place, begins = reply_to.channel, True
        elif step.place:
            direct = step.place == DIRECT
            self._place, begins = self._discord.dm(user) if direct else self._channels[step.place], True
        elif not begins and self._place.guild and not self._place.is_thread:
            self._place = await self._thread(user)
        sent = step.file
        files = [discord_service.File(sent.name, sent.text.encode(), "text/plain")] if sent else []
        said = await self._discord.say(user, self._place, self._written(step), files=files, reply_to=reply_to)
        if begins:
            self._root = said
        if step.id:
            self._known[step.id] = said
        is_heard = not self._place.guild or self._place.is_thread or BOT in MENTION.findall(step.text)
        if is_heard and step.text != STOP:  # the log does not name the message of a stop
            await self._taken.wait_for("Message", f"discord:{said.id}")

    async def _thread(self, user: discord_service.User) -> Channel:
        """Return the thread of the message that began the conversation; the bot opens it if it answers."""
        assert self._root
        if self._root.thread is None and self._discord.mention in self._root.content:
            return await self._discord.thread_of(self._root)
        return self._root.thread or self._discord.start_thread(user, self._root)

    def _written(self, step: Says) -> str:
        names = {BOT: self._discord.bot, **self._users}
        return written(step.text, lambda name: names[name].mention if name in names else None, self._link)

    def _link(self, name: str) -> str:
        known = self._known[name]
        return f"https://discord.com/channels/{self._discord.guild.id}/{known.channel.id}/{known.id}"

    async def edit(self, step: Says) -> None:
        known = self._known[step.edits or ""]
        self._discord.edit(known, self._written(step))
        await self._taken.wait_for("Correction", f"discord:{known.id}")

    async def press(self, step: Says) -> None:
        await wait_until_idle(self._redis)
        for message in reversed(self._replies()):
            labels = [each.get("label") for each in message.buttons]
            if step.button and step.button in labels:
                await self._discord.click(self._users[step.person], message, step.button)
                return
        raise CannotAct(f"there is no button {step.button}")

    async def command(self, step: Says) -> None:
        word, verb, text = step.text.removeprefix("/").split(" ", 2)
        place = self._channels[step.place] if step.place else self._place
        option = {"follow-up": "policy"}.get(verb, "text")
        shown = await self._discord.command(f"{word} {verb}", self._users[step.person], place, {option: text})
        self._said.append(shown.content)

    async def answer_begins(self) -> None:
        await wait_until(lambda: any(each.content for each in self._new()), "an answer begins")

    async def answer(self) -> Answer:
        await wait_until_idle(self._redis)
        new = self._new()
        self._read |= {each.id for each in new}
        said, self._said = self._said, []
        texts = [_TOOL_LINE.sub("", each.content) for each in new]
        files = [file.name for each in new for file in each.attachments]
        return Answer("\n\n".join(filter(None, [*said, *texts])), (), tuple(files))

    def _replies(self) -> Sequence[discord_service.Message]:
        place = self._place
        if place.guild and not place.is_thread:
            if self._root is None or self._root.thread is None:
                return []
            place = self._root.thread
        return [each for each in self._discord.messages(place) if each.author is self._discord.bot]

    def _new(self) -> Sequence[discord_service.Message]:
        return [each for each in self._replies() if each.id not in self._read]


class TakenEvents(logging.Handler):
    """Events that the bot has taken, as its log says."""

    def __init__(self) -> None:
        super().__init__()
        self._taken: set[tuple[str, str]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "event taken":
            fields = vars(record)
            self._taken.add((fields["kind"], fields.get("message_id", "")))

    async def wait_for(self, kind: str, id: str) -> None:
        """Wait until an event of this kind about a message is taken."""
        await wait_until(lambda: (kind, id) in self._taken, f"{kind} {id} is taken")


async def wait_until_idle(redis: Redis) -> None:
    """Wait until no thread has a message that waits or is being answered."""

    async def is_idle() -> bool:
        return not await redis.scard(keys.ACTIVE)

    await wait_until(is_idle, "everything is answered")


def people_settings(scenario: Scenario, platform: str, ids: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings about people."""
    roles = scenario.settings
    named = {"admin_users": roles.administrators, "approvers": roles.approvers}
    return {
        setting: ",".join(f"{platform}:{ids[name]}" for name in names)
        for setting, names in named.items()
        if names
    }


@contextmanager
def listening() -> Iterator[TakenEvents]:
    """Yield the events that the bot takes meanwhile."""
    handler, log = TakenEvents(), logging.getLogger("bot.app")
    log.addHandler(handler)
    try:
        yield handler
    finally:
        log.removeHandler(handler)


@asynccontextmanager
async def slack_stage(scenario: Scenario, redis: Redis) -> AsyncIterator[BotStage]:
    """Yield a stage on a Slack server; it fails if the server had to refuse a request."""
    async with Slack(ack_timeout=1, redelivery_delays=(0.2, 0.5, 1)) as slack:
        slack.lack_blocks("data_visualization")  # a scenario expects the picture, which every platform shows
        yield SlackStage(scenario, slack, redis)
        assert not slack.violations


@asynccontextmanager
async def discord_stage(scenario: Scenario, redis: Redis) -> AsyncIterator[BotStage]:
    """Yield a stage on a Discord server; it fails if the server had to refuse a request."""
    async with Discord() as discord:
        discord.starts.seconds = 0.1
        with listening() as taken:
            yield DiscordStage(scenario, discord, redis, taken)
        assert not discord.violations


OpenStage = Callable[[Scenario, Redis], AbstractAsyncContextManager[BotStage]]
STAGES: Mapping[str, OpenStage] = {"slack": slack_stage, "discord": discord_stage}
