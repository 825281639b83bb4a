"""The Home tab on Slack: what a user is told about themselves, live after actions, and nothing of others."""

import json
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Message, StorageDown, ThreadId
from bot.chat.texts import NO_STORAGE
from bot.commands import home_texts
from bot.commands.commands import Commands
from bot.commands.decisions import WaitingRequest
from bot.commands.home import Home, read_home
from bot.commands.memory import FACTS_OF_PAGE, Caller, KnownFact, KnownThread, MemoryOverview
from bot.slack.home_view import (
    EXPORT,
    FORGET,
    FORGET_ALL,
    REFRESH,
    HomeState,
    Places,
    home_view,
    load_state,
)
from tests.servers.model import ModelServer
from tests.servers.slack.rules import visible_text
from tests.servers.slack.service import ALICE, BOB, GENERAL, TEAM, Slack
from tests.servers.slack.views import check_home
from tests.support.bot import run_bot
from tests.support.commands import no_health, nothing_to_stop
from tests.support.memory import wait_until_filed
from tests.support.obedient_model import obey, order
from tests.support.settings import is_slack_over_http, of_model, of_slack
from tests.support.wait import wait_until


@pytest.fixture
def storage(storage: dict[str, Any], model: ModelServer) -> dict[str, Any]:
    """Settings of the session's servers with the obedient model; Redis is empty."""
    model.respond = obey
    return {**storage, **of_model(model)}


async def opened(slack: Slack, user: str) -> str:
    """Open the Home tab; return its text once it is shown."""
    before = len(slack.workspace.home_history)
    slack.open_home(user, "home")
    await wait_until(
        lambda: user in [each for each, _ in slack.workspace.home_history[before:]], "the tab is shown"
    )
    return text_of(slack, user)


def text_of(slack: Slack, user: str) -> str:
    """Return the text of the Home tab of a user; empty before it is shown."""
    home = slack.home(user)
    return visible_text(home["blocks"]) if home else ""


async def ask(slack: Slack, user: str, channel: str, text: str) -> str:
    """Ask in a thread of its own; return the `ts` of the question once it is answered."""
    mention = "" if slack.workspace.channels[channel].kind == "im" else f"{slack.mention} "
    ts = await slack.say(user, channel, mention + text)
    await slack.answer(channel, ts)
    return ts


async def test_a_user_sees_their_own_facts_threads_and_usage_and_nothing_of_others(
    storage: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    """Threads are links; no id of a user, a channel or a fact is in the text."""
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        await ask(
            slack, ALICE, slack.dm(ALICE), order("memory_save", text="Alice likes tea", scope="private")
        )
        await ask(slack, BOB, slack.dm(BOB), order("memory_save", text="Bob likes rum", scope="private"))
        ts = await ask(slack, ALICE, GENERAL, "which tea is there?")
        await wait_until_filed(redis, 3)
        shown = await opened(slack, ALICE)
        assert "Alice likes tea" in shown
        assert "which tea is there?" in shown
        assert "rum" not in shown
        assert home_texts.USAGE in shown
        assert home_texts.HEALTH not in shown
        assert home_texts.SETTINGS not in shown
        assert not any(id in shown for id in (ALICE, BOB, GENERAL, TEAM, slack.dm(ALICE)))
        view = json.dumps(slack.home(ALICE))
        assert f"https://test.slack.com/archives/{GENERAL}/p{ts.replace('.', '')}" in view
        assert "Bob likes rum" in await opened(slack, BOB)
    assert not slack.violations


async def test_only_an_administrator_sees_the_health_and_the_settings(
    storage: dict[str, Any], slack: Slack
) -> None:
    """A guest whom ADMIN_USERS names is none."""
    slack.describe(BOB, team_id=TEAM, is_restricted=True)
    admins = {f"slack:{ALICE}", f"slack:{BOB}"}
    async with run_bot(**storage, **of_slack(slack), admin_users=admins):
        await slack.wait_for_connections()
        shown = await opened(slack, ALICE)
        assert home_texts.HEALTH in shown
        assert "redis" in shown
        assert home_texts.SETTINGS in shown
        guests = await opened(slack, BOB)
        assert home_texts.HEALTH not in guests
        assert "redis" not in guests
        assert home_texts.SETTINGS not in guests


async def test_the_tab_shows_what_its_buttons_have_done(
    storage: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        for drink in ("tea", "milk"):
            fact = order("memory_save", text=f"Alice likes {drink}", scope="private")
            await ask(slack, ALICE, slack.dm(ALICE), fact)
        await wait_until_filed(redis, 2)
        await opened(slack, ALICE)
        [tea] = [
            block["accessory"]["value"]
            for block in (slack.home(ALICE) or {})["blocks"]
            if "likes tea" in block.get("text", {}).get("text", "") and "accessory" in block
        ]
        assert (await slack.press_home(ALICE, FORGET, tea)).acked
        await wait_until(lambda: "I have forgotten" in text_of(slack, ALICE), "the fact is gone")
        blocks = (slack.home(ALICE) or {})["blocks"]
        facts = [each["text"]["text"] for each in blocks if "accessory" in each]
        assert ["milk" in each for each in facts] == [True]

        await slack.press_home(ALICE, EXPORT)
        await wait_until(lambda: "sent you a file" in text_of(slack, ALICE), "the file is sent")
        assert any(each.files for each in slack.messages(slack.dm(ALICE)))

        await slack.press_home(ALICE, FORGET_ALL)
        await wait_until(lambda: "0 facts" in text_of(slack, ALICE), "everything is gone")
        assert home_texts.NO_THREADS in text_of(slack, ALICE)
        await slack.press_home(ALICE, REFRESH)
    assert not slack.violations


async def test_a_tab_that_was_shown_just_now_is_not_read_again(storage: dict[str, Any], slack: Slack) -> None:
    """Slack sends the event each time; the Messages tab is not a reason either."""
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        slack.open_home(ALICE, "messages")
        await opened(slack, ALICE)
        for _ in range(3):
            slack.open_home(ALICE, "home")
        await slack.wait_until_settled()
        await opened(slack, BOB)
    assert slack.count("views.publish") == 2


async def test_the_tab_is_read_by_a_search_and_not_by_a_scan_of_all_keys(
    storage: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    """It is as fast in a large Redis, however often users open it."""

    async def scans() -> int:
        statistics = await redis.info("commandstats")
        return int(statistics.get("cmdstat_scan", {}).get("calls", 0))

    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        fact = order("memory_save", text="Alice likes tea", scope="private")
        await ask(slack, ALICE, slack.dm(ALICE), fact)
        await wait_until_filed(redis, 1)
        before = await scans()
        shown = await opened(slack, ALICE)
        assert "Alice likes tea" in shown
        assert "1 fact" in shown
        assert await scans() == before


async def test_without_a_memory_the_tab_still_shows_what_is_stored(
    storage: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        fact = order("memory_save", text="Alice likes tea", scope="private")
        await ask(slack, ALICE, slack.dm(ALICE), fact)
        await wait_until_filed(redis, 1)
    async with run_bot(**storage, **of_slack(slack), enable_memory=False):
        is_open = lambda: is_slack_over_http() or slack.count("apps.connections.open") > 2  # noqa: E731
        await wait_until(is_open, "the sockets are open")
        await slack.wait_for_connections()
        shown = await opened(slack, ALICE)
        assert "Alice likes tea" in shown
        assert "switched off" in shown


async def test_a_button_of_a_view_that_is_not_the_newest_replaces_the_newest(
    storage: dict[str, Any], slack: Slack
) -> None:
    """Another process may have shown the tab meanwhile: Slack refuses the hash, and all is read again."""
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        await opened(slack, ALICE)
        seen = slack.home(ALICE) or {}
        newest = slack.workspace.homes[ALICE] = seen | {"hash": "of another process"}
        await slack.press_home(ALICE, REFRESH, view=seen)
        await wait_until(lambda: slack.home(ALICE) != newest, "the tab is shown again")
    conflict, _ = [each.error for each in slack.calls if each.method == "views.publish"][1:]
    assert conflict == "hash_conflict"
    assert not slack.violations


async def test_a_tab_that_slack_refuses_is_shown_at_the_next_opening(
    storage: dict[str, Any], slack: Slack
) -> None:
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        refusal = slack.fail("views.publish", error="internal_error", times=1)
        slack.open_home(ALICE, "home")
        await wait_until(lambda: refusal.hits == 1, "Slack has refused it")
        await slack.wait_until_settled()
        assert home_texts.MEMORY in await opened(slack, ALICE)


class NoStorage:
    """Commands while the store is down."""

    async def count_votes(self, by: str) -> Any:
        raise StorageDown("Redis did not answer")

    async def overview(self, caller: Caller, first: int) -> Any:
        raise StorageDown("Redis did not answer")

    async def waiting_for(self, by: str) -> Any:
        raise ValueError("a bug")


PRESS = Message(
    id="", thread=ThreadId("slack", "T1", "D1"), author="slack:U1", text="", sent_at=0, addressed=True
)
PLACES = Places("https://test.slack.com/", "T1", "D1", frozenset({"C1"}))


async def test_a_part_that_cannot_be_read_has_a_sentence_and_the_others_stay() -> None:
    down: Any = NoStorage()

    async def usage(by: str, of_all: bool) -> str:
        return "used nothing"

    commands = Commands(no_health, nothing_to_stop, usage=usage, memory=down, answers=down, waiting=down)
    home = await read_home(commands, PRESS)
    assert isinstance(home, Home)
    assert not home.is_complete
    shown = visible_text(home_view(home, HomeState("D1"), "", PLACES, 0)["blocks"]).splitlines()
    assert shown[shown.index(home_texts.MEMORY) + 1] == NO_STORAGE
    assert shown[shown.index(home_texts.FEEDBACK) + 1] == NO_STORAGE
    assert shown[shown.index(home_texts.WAITING) + 1] == home_texts.NOT_READ
    assert shown[shown.index(home_texts.USAGE) + 1] == "used nothing"


def test_the_largest_and_most_hostile_home_is_a_view_that_slack_takes() -> None:
    """Texts are cut, facts and questions are no markup, links lead to what the user can read only."""
    hostile = "<!channel> <@U0BOB> *x* <https://evil.example|click> & `y` \x00\ud83d " + "x" * 5_000
    facts = [KnownFact(f"{number:08x}", hostile, "today") for number in range(FACTS_OF_PAGE)]
    places = ["slack:t1:c1:1.5", "slack:t1:d1:2.5", "slack:t1:c2:1.5", "slack:t1:d2:1.5", "slack:t2:c1:1.5"]
    places += ["discord:1:2:3", "slack:t1:~digest:1.5", "slack:t1:c1", hostile]
    threads = [KnownThread(each, hostile, "today") for each in places * 9]
    text = (hostile + "\n") * 10
    waiting = [WaitingRequest("1f", "approval", hostile, places, 3_600.0)] * 20
    memory = MemoryOverview(10_000, 10_000, facts, threads, first=50)
    home = Home(
        health=text, usage=text, feedback=text, opinions=text, memory=memory, waiting=waiting, is_admin=True
    )
    view = home_view(home, HomeState("D1", 50), text, PLACES, 0)
    check_home(view)
    blocks = view["blocks"]
    links = [each["elements"][0]["elements"][0].get("url") for each in blocks if each["type"] == "rich_text"]
    base = "https://test.slack.com/archives"
    assert links == [f"{base}/C1/p15"] * 10 + [f"{base}/C1/p15", f"{base}/D1/p25"] * 5
    for block in blocks:
        if block.get("text", {}).get("type") == "mrkdwn":
            assert "<!" not in block["text"]["text"]
            assert "<@" not in block["text"]["text"]
        if block.get("accessory", {}).get("type") == "button":
            assert block["text"]["type"] == "plain_text"


def test_while_slack_does_not_list_the_channels_of_a_user_the_tab_says_so() -> None:
    threads = [KnownThread(f"slack:t1:{each}:1.5", f"asked in {each}", "today") for each in ("c2", "d1")]
    home = Home(memory=MemoryOverview(0, 2, (), threads))
    shown = visible_text(home_view(home, HomeState(), "", replace(PLACES, has_all=False), 0)["blocks"])
    assert "asked in d1" in shown
    assert "asked in c2" not in shown
    assert home_texts.THREADS_NOT_CHECKED in shown


@pytest.mark.parametrize("metadata", ["D1", "D1 ", "D1 -5", "D1 1e9", "D1 ٣", "D1 99999999", "D1 10 5"])
def test_the_state_of_a_view_is_read_even_if_an_earlier_version_has_made_it(metadata: str) -> None:
    assert load_state(metadata) == HomeState("D1", 0)
    assert load_state(HomeState("D1", 20).dump()) == HomeState("D1", 20)
