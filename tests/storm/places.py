"""Where people talk with the bot in a storm: threads and direct messages of both services."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.servers.discord import Channel, Discord
from tests.servers.discord import Message as DiscordMessage
from tests.servers.slack import Slack


@dataclass(eq=False)
class Place:
    """One conversation: `say` writes there, `shown` is what it shows of the bot; `asked` are the tokens."""

    name: str
    say: Callable[[str], Awaitable[object]]
    shown: Callable[[], str]
    asked: list[str] = field(default_factory=list)


def slack_thread(slack: Slack, user: str, channel: str, root: str) -> Place:
    """A thread of Slack, in a channel or in direct messages."""

    async def say(text: str) -> None:
        await slack.say(user, channel, text, thread_ts=root)

    def shown() -> str:
        return "\n".join(each.shown for each in slack.replies(channel, root) if each.from_bot)

    return Place(f"Slack {channel} {root}", say, shown)


def discord_channel(discord: Discord, channel: Channel) -> Place:
    """A direct message channel."""
    return Place(
        f"Discord {channel.id}",
        lambda text: discord.say(discord.alice, channel, text),
        lambda: _of_bot(discord, channel),
    )


def discord_thread(discord: Discord, root: DiscordMessage) -> Place:
    """The thread that the bot makes from a message, and before that the message's channel."""

    async def say(text: str) -> None:
        assert root.thread
        await discord.say(discord.alice, root.thread, text)

    def shown() -> str:
        return _of_bot(discord, root.thread) if root.thread else ""

    return Place(f"Discord thread of {root.id}", say, shown)


def _of_bot(discord: Discord, channel: Channel) -> str:
    mine = (each for each in discord.messages(channel) if each.author is discord.bot)
    return "\n".join(each.content for each in mine)
