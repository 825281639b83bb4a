"""`./dev gallery`: run typical conversations, draw them, and write `docs/gallery.md`."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bot.storage.client import open_redis
from bot.storage.embedded import embedded_postgres, embedded_redis
from tests.gallery.chromium import find_chromium, take_picture
from tests.gallery.discord_drawing import DiscordDrawing
from tests.gallery.page import PAGE, PICTURES, Platform, document, picture
from tests.gallery.shows import SHOWS, Show
from tests.gallery.slack_drawing import SlackDrawing
from tests.servers.model import model_server
from tests.servers.slack.service import ALICE, BOB
from tests.support.contract.discord_place import DiscordPlace
from tests.support.contract.feature import Kind
from tests.support.contract.hosts import open_place
from tests.support.contract.place import Place
from tests.support.contract.slack_place import SlackPlace
from tests.support.table import a_shelf

_KINDS: Sequence[Kind] = ("Slack, sockets", "Discord")


async def draw_all(program: str) -> None:
    """Draw all conversations on all platforms."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            embedded_redis(Path(folder)) as redis_url,
            embedded_postgres(Path(folder)) as database_url,
            open_redis(redis_url, pool_size=20) as redis,
            a_shelf(database_url) as shelf,
        ):
            storage = {"redis_url": redis_url, "database_url": database_url}
            for kind in _KINDS:
                await redis.flushall()
                async with (
                    model_server() as model,
                    open_place(kind, storage, model, redis, shelf) as place,
                ):
                    await _draw(program, "discord" if kind == "Discord" else "slack", place)
    PAGE.write_text(document())


async def _draw(program: str, platform: Platform, place: Place) -> None:
    if isinstance(place, SlackPlace):
        place.slack.workspace.users |= {ALICE: "Alice", BOB: "Bob"}
    for show in SHOWS:
        if show.only in ("", platform):
            began, before = time.monotonic(), _interactions(place)
            await show.story(place)
            await take_picture(program, _page(show, place, began, before), picture(show, platform))
            if isinstance(place, SlackPlace):
                for each in place.slack.modals:
                    each.is_open = False


def _interactions(place: Place) -> int:
    return len(place.discord.interactions.sent) if isinstance(place, DiscordPlace) else 0


def _page(show: Show, place: Place, began: float, before: int) -> str:
    if isinstance(place, SlackPlace):
        drawing = SlackDrawing(place.slack)
        if show.name == "home":
            return drawing.home(place.slack.home(ALICE) or {})
        return drawing.conversation(place.channel, place.root, since=began)
    assert isinstance(place, DiscordPlace)
    assert place.root
    opened = place.discord.interactions.sent[before:]
    channel = place.discord.general if place.channel.is_thread else place.channel
    return DiscordDrawing(place.discord).conversation(channel, place.root, opened)


if __name__ == "__main__":
    found = find_chromium()
    if found is None:
        sys.exit(
            "No Chromium was found, so nothing was drawn. On Debian and Ubuntu: apt-get install chromium"
        )
    asyncio.run(draw_all(found))
