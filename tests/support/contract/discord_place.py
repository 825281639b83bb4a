"""Place of a story on Discord."""

from collections.abc import Mapping, Sequence

from redis.asyncio import Redis

from bot.commands import ask_texts
from tests.servers.discord.rules import walk
from tests.servers.discord.service import Channel, Discord, File, Interaction, Message, NotOffered, User
from tests.servers.model import ModelServer
from tests.support.contract.place import Name, Sent, Shown
from tests.support.contract.running_bot import RunningBot
from tests.support.table import Shelf


class DiscordPlace:
    """Conversations in a channel and in direct messages; implements `Place`."""

    def __init__(
        self, discord: Discord, model: ModelServer, redis: Redis, shelf: Shelf, bot: RunningBot
    ) -> None:
        self.discord, self.model, self.redis, self.shelf, self.bot = discord, model, redis, shelf, bot
        self.mention = discord.mention
        self._users: Mapping[Name, User] = {"alice": discord.alice, "bob": discord.bob}
        self._messages: dict[str, Message] = {}
        self._opened: Interaction | None = None
        self.channel: Channel = discord.general
        self.root: Message | None = None

    async def connect(self) -> None:
        await self.discord.wait_for_connections()

    async def ask(self, text: str, who: Name = "alice", files: Sequence[Sent] = ()) -> str:
        self.channel, self.root = self.discord.general, None
        return await self._say(who, f"{self.mention} {text}", files)

    async def direct(self, text: str) -> str:
        self.channel, self.root = self.discord.dm(self.discord.alice), None
        return await self._say("alice", text)

    async def talk(self, who: Name, text: str) -> str:
        self.channel, self.root = self.discord.general, None
        return await self._say(who, text)

    async def say(self, who: Name, text: str) -> str:
        if self.channel is self.discord.general and self.root:
            self.channel = await self._thread(self._users[who], self.root)
        return await self._say(who, text)

    async def _thread(self, user: User, root: Message) -> Channel:
        if root.thread is None and self.mention in root.content:
            return await self.discord.thread_of(root)  # the bot opens it
        return root.thread or self.discord.start_thread(user, root)

    async def _say(self, who: Name, text: str, sent: Sequence[Sent] = ()) -> str:
        files = [File(name, data, kind) for name, kind, data in sent]
        said = await self.discord.say(self._users[who], self.channel, text, files=files)
        self.root = self.root or said
        self._messages[f"discord:{said.id}"] = said
        return f"discord:{said.id}"

    def edit(self, id: str, text: str) -> None:
        self.discord.edit(self._messages[id], text)

    def remove(self, id: str) -> None:
        self.discord.remove(self._messages[id])

    def messages(self) -> Sequence[Message]:
        """Return the bot's messages in the conversation."""
        begun = self.root.id if self.root else 0
        threads = [each.thread for each in self.discord.messages(self.channel) if each.id >= begun]
        channels = [self.channel, *(each for each in threads if each)]
        shown = [each for channel in channels for each in self.discord.messages(channel)]
        return [each for each in shown if each.author is self.discord.bot and each.id > begun]

    def shown(self) -> Sequence[Shown]:
        return [self._shown(each) for each in self.messages()]

    def is_in_thread(self) -> bool:
        return all(each.channel.is_thread for each in self.messages())

    async def press(self, who: Name, label: str) -> str:
        for message in reversed(self.messages()):
            for each in message.buttons:
                values = [option["value"] for option in each.get("options", ()) if option["label"] == label]
                if values or each.get("label") == label:
                    pressed = await self.discord.click(
                        self._users[who], message, each["custom_id"], values=values
                    )
                    assert pressed.ephemeral
                    return pressed.content
        raise LookupError(f"there is no {label!r}")

    async def vote(self, who: Name, is_good: bool) -> None:
        beginning = f"rate:{'up' if is_good else 'down'}:"
        message = next(each for each in reversed(self.messages()) if "👍" in _labels(each))
        [button] = [each["custom_id"] for each in message.buttons if each["custom_id"].startswith(beginning)]
        self._opened = await self.discord.click(self._users[who], message, button)

    async def give_reason(self, who: Name, reason: str) -> None:
        assert self._opened
        assert self._opened.user is self._users[who]
        assert (await self.discord.submit(self._opened, {"reason": reason})).ephemeral

    async def command(self, who: Name, name: str, verb: str = "", **options: str) -> str:
        full = f"agent-{name} {verb}".strip()
        shown = await self.discord.command(full, self._users[who], self.channel, options)
        assert shown.ephemeral
        return "\n".join(each.content for each in shown.messages)

    async def is_refused(self, who: Name, name: str, verb: str = "", **options: str) -> bool:
        try:
            return "Only administrators" in await self.command(who, name, verb, **options)
        except NotOffered:
            return True

    async def ask_about(self, who: Name, id: str, question: str) -> None:
        user = self._users[who]
        opened = await self.discord.message_command(ask_texts.ASK_ABOUT, self._messages[id], user)
        await self.discord.submit(opened, {"question": question})

    def _shown(self, message: Message) -> Shown:
        names = {user: name for name, user in self._users.items()}
        pings: list[str] = [names[each] for each in message.mentions if each in names]
        return Shown(
            id=str(message.id),
            text=message.content,
            earlier=[each.content for each in message.history[:-1]],
            buttons=_labels(message),
            files=[each.name for each in message.attachments],
            pings=[*pings, *(["everyone"] if message.mentions_everyone else [])],
        )


def _labels(message: Message) -> list[str]:
    labels: list[str] = []
    for each in walk(message.components):
        if each.get("custom_id"):
            options = [option["label"] for option in each.get("options", ())]
            labels += options or [each.get("label") or each.get("emoji", {}).get("name", "")]
    return labels
