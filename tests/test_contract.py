"""Contract of the chat platforms: each feature on Slack over sockets, on Slack over HTTP, and on Discord.

`docs/features.md` is the table of these stories.
"""

from collections.abc import AsyncIterator
from typing import cast

import pytest
import pytest_asyncio

from bot.storage.client import open_redis
from tests.gallery import page as gallery
from tests.gallery.page import PICTURES, picture, platforms
from tests.gallery.shows import SHOWS
from tests.servers.model import echo, model_server
from tests.support.contract.chapters import CHAPTERS, PAGE
from tests.support.contract.feature import KINDS, Feature, Kind, document
from tests.support.contract.hosts import open_place
from tests.support.contract.place import Place
from tests.support.table import a_shelf

FEATURES = [each for _, features in CHAPTERS for each in features]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Return one of the ways in which the bot talks with users."""
    return cast("Kind", request.param)


@pytest_asyncio.fixture(scope="module")
async def place(kind: Kind, redis_url: str, database_url: str) -> AsyncIterator[Place]:
    """Yield a platform with a bot that all stories share."""
    storage = {"redis_url": redis_url, "database_url": database_url}
    async with (
        open_redis(redis_url, pool_size=20) as redis,
        model_server() as model,
        a_shelf(database_url) as shelf,
    ):
        await redis.flushall()
        async with open_place(kind, storage, model, redis, shelf) as opened:
            yield opened


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
async def test_users_have_the_feature(kind: Kind, place: Place, feature: Feature) -> None:
    """Or the page says why not."""
    if reason := feature.lack(kind):
        pytest.skip(reason)
    place.model.respond = echo
    await feature.story(place)
    assert place.model.unused == 0


def test_the_page_of_features_is_what_the_stories_say() -> None:
    """Write it with `./dev features`."""
    assert PAGE.read_text() == document(CHAPTERS)


def test_the_gallery_has_a_small_picture_of_each_conversation() -> None:
    """Draw them with `./dev gallery`."""
    pictures = {picture(show, each) for show in SHOWS for each in platforms(show)}
    assert pictures == set(PICTURES.iterdir())
    assert len(pictures) <= 40
    assert max(each.stat().st_size for each in pictures) <= 60_000
    assert gallery.PAGE.read_text() == gallery.document()
