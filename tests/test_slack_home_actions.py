"""Buttons and forms of the Home tab on Slack: who can use them, what they change, what a failure shows."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.access.answers import AnswerStore
from bot.commands import answer_texts, channel_texts, home_texts
from bot.slack.home_view import CHANNEL, EXPORT, FEEDBACK, FORGET, FORGET_ALL, NEWER, OLDER, REFRESH
from bot.slack.rate_limits import RateLimits
from bot.storage.coordination import RedisCoordination
from tests.servers.model import ModelServer
from tests.servers.slack.rules import visible_text
from tests.servers.slack.service import ALICE, BOB, CAROL, GENERAL, TEAM, Modal, Slack
from tests.support.bot import run_bot
from tests.support.memory import wait_until_filed
from tests.support.obedient_model import obey, order
from tests.support.platforms import SLACK, platforms_with
from tests.support.questions import asking
from tests.support.settings import of_model, of_slack
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


def facts_of(slack: Slack, user: str) -> dict[str, str]:
    """Return the facts that a tab shows: the ids of their buttons by their text."""
    home = slack.home(user) or {"blocks": []}
    shown = [each for each in home["blocks"] if each.get("accessory", {}).get("action_id") == FORGET]
    return {each["text"]["text"].partition(" (")[0]: each["accessory"]["value"] for each in shown}


async def remember(slack: Slack, user: str, *facts: str) -> None:
    """Let the bot save facts about a user."""
    for fact in facts:
        ts = await slack.say(user, slack.dm(user), order("memory_save", text=fact, scope="private"))
        await slack.answer(slack.dm(user), ts)


async def form_of(slack: Slack, act: Callable[[], Awaitable[Any]]) -> Modal:
    """Do something, and return the form that it opens."""
    before = len(slack.modals)
    await act()
    await wait_until(lambda: len(slack.modals) > before, "a form is opened")
    return slack.modals[-1]


async def test_a_user_changes_only_their_own_data_and_a_stranger_sees_only_a_sentence(
    storage: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    """Security: also with the view of somebody else, which a client may send with any values."""
    allowed = {f"slack:{ALICE}", f"slack:{CAROL}"}
    async with run_bot(**storage, **of_slack(slack), allowed_users=allowed, admin_users={f"slack:{BOB}"}):
        await slack.wait_for_connections()
        slack.describe(BOB, team_id=TEAM, is_ultra_restricted=True)
        await remember(slack, ALICE, "Alice likes tea")
        await wait_until_filed(redis, 1)
        await opened(slack, ALICE)
        view, [tea] = slack.home(ALICE), facts_of(slack, ALICE).values()

        await opened(slack, CAROL)
        await slack.press_home(CAROL, FORGET, tea, view=view)
        await wait_until(lambda: "no fact of yours" in text_of(slack, CAROL), "there is none of hers")
        assert "tea" not in text_of(slack, CAROL)

        for user, why in ((BOB, "guests"), ("U0DAVE", "ALLOWED_USERS")):
            shown = await opened(slack, user)
            assert why in shown
            assert home_texts.MEMORY_COMMAND.partition(" with ")[0] in shown
            assert home_texts.USAGE not in shown
            for action in (FORGET, FORGET_ALL, EXPORT, FEEDBACK):
                await slack.press_home(user, action, view=view)
            await slack.wait_until_settled()
            assert text_of(slack, user) == shown
            assert not any(each.files for each in slack.messages(slack.dm(user)))
        assert not slack.modals
        await slack.press_home(ALICE, REFRESH)
        assert list(facts_of(slack, ALICE).values()) == [tea]
    assert not slack.violations


async def test_facts_come_in_pages_and_the_page_stays_when_one_is_forgotten(
    storage: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        names = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hans", "Ida", "Joe", "Kim", "Leo")
        await remember(slack, ALICE, *(f"{each} is a friend of Alice" for each in names))
        await wait_until_filed(redis, len(names))
        assert "Facts 1 to 10 of 12" in await opened(slack, ALICE)
        await slack.press_home(ALICE, OLDER)
        await wait_until(lambda: "Facts 11 to 12 of 12" in text_of(slack, ALICE), "the second page")
        second = facts_of(slack, ALICE)
        assert ["Ben" in each or "Ada" in each for each in second] == [True, True]
        for id in second.values():
            await slack.press_home(ALICE, FORGET, id)
            await wait_until(lambda id=id: id not in facts_of(slack, ALICE).values(), "it is gone")  # type: ignore[misc]
        assert len(facts_of(slack, ALICE)) == 10, "there is no second page any more"
        with pytest.raises(LookupError):
            await slack.press_home(ALICE, NEWER)
    assert not slack.violations


async def test_recent_threads_and_questions_are_links_to_what_the_user_can_read(
    storage: dict[str, Any], redis: Redis, slack: Slack, model: ModelServer
) -> None:
    """Not to a private channel that they have left; what they do elsewhere is there at the next opening."""
    secret = slack.add_channel("C0SECRET", "group")
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        for channel in (secret, slack.dm(ALICE)):
            mention = "" if channel == slack.dm(ALICE) else f"{slack.mention} "
            ts = await slack.say(ALICE, channel, f"{mention}asked in {channel}")
            await slack.answer(channel, ts)
        await wait_until_filed(redis, 2)
        slack.workspace.channel(secret).members.discard(ALICE)
        model.respond = lambda _: asking("Which fruit?")
        asked = await slack.say(ALICE, GENERAL, f"{slack.mention} choose")
        await slack.answer(GENERAL, asked, until=lambda text: "fruit" in text)
        shown = await opened(slack, ALICE)
        assert f"asked in {slack.dm(ALICE)}" in shown
        assert secret not in shown
        assert "Which fruit? (Question, " in shown.partition(home_texts.MEMORY)[0]
        assert f"archives/{GENERAL}/p{asked.replace('.', '')}" in str(slack.home(ALICE))

        model.respond = lambda _: "Pears it is."
        form = next(each for each in slack.bot_replies(GENERAL, asked) if "fruit" in each.visible_text)
        await slack.press(ALICE, GENERAL, form.ts, "answer:1")
        await slack.answer(GENERAL, asked, until=lambda text: "Pears it is." in text)
        assert home_texts.WAITING not in await opened(slack, ALICE)
    assert not slack.violations


async def test_a_tab_describes_no_channels_beyond_the_limit_that_it_shares_with_turns(
    storage: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    """It lists the channels of its user instead, once."""
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello", mention_last=True)
        await slack.answer(GENERAL, ts)
        await wait_until_filed(redis, 1)
        limits = RateLimits(RedisCoordination(redis, "another process"))
        while not await limits.delay(TEAM, "conversations.info", leave=20):
            pass
        assert f"archives/{GENERAL}" in str([await opened(slack, ALICE), slack.home(ALICE)])
        assert (slack.count("conversations.info"), slack.count("users.conversations")) == (0, 1)
    assert not slack.violations


async def test_feedback_reaches_the_administrators(
    storage: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    impatient = platforms_with(slack_timing=replace(SLACK, ack_timeout=0.2))
    async with run_bot(impatient, **storage, **of_slack(slack), admin_users={f"slack:{BOB}"}):
        await slack.wait_for_connections()
        await opened(slack, ALICE)
        form = await form_of(slack, lambda: slack.press_home(ALICE, FEEDBACK))
        typed = {"rating": "up", "words": "It <!channel> `helps`"}
        await redis.client_pause(60_000, all=False)
        failed = await slack.submit(form, typed)
        await redis.client_unpause()
        assert failed.errors == {"words": answer_texts.REASON_NOT_STORED}
        assert not (await slack.submit(form, typed)).is_open
        await wait_until(lambda: home_texts.feedback(1, 0) in text_of(slack, ALICE), "it is counted")
        assert answer_texts.THANKS in text_of(slack, ALICE)
        assert home_texts.OPINIONS not in text_of(slack, ALICE)
        shown = await opened(slack, BOB)
        assert "about the bot" in shown
        assert "helps" in shown
        assert "<!channel>" not in shown
        [stored] = [each async for each in AnswerStore(redis).all_feedback()]
        assert (stored.by, stored.vote, stored.reason) == (f"slack:{ALICE}", "up", typed["words"])
    assert not slack.violations


async def test_an_administrator_changes_the_settings_of_a_channel_from_the_tab(
    storage: dict[str, Any], slack: Slack
) -> None:
    """Nobody else can, also not with the view of an administrator; the form shows what has been stored."""
    async with run_bot(**storage, **of_slack(slack), admin_users={f"slack:{BOB}"}):
        await slack.wait_for_connections()
        await opened(slack, BOB)
        await opened(slack, ALICE)
        await slack.press_home(ALICE, CHANNEL, GENERAL, view=slack.home(BOB))
        await wait_until(lambda: "ADMIN_USERS" in text_of(slack, ALICE), "she is refused")
        assert not slack.modals
        await slack.press_home(BOB, CHANNEL, "no channel")

        form = await form_of(slack, lambda: slack.press_home(BOB, CHANNEL, GENERAL))
        await slack.submit(form, {"instructions": "Speak in verse."})
        await wait_until(lambda: channel_texts.FORM_STORED in text_of(slack, BOB), "the tab says so")
        again = await form_of(slack, lambda: slack.press_home(BOB, CHANNEL, GENERAL))
        assert "Speak in verse." in str(again.view["blocks"])
        assert "Speak in verse." in await slack.command_text("/agent-channel", "show", BOB, GENERAL)
    assert not slack.violations


async def test_presses_in_a_row_show_the_tab_once_more_and_its_tasks_end_with_the_bot(
    storage: dict[str, Any], slack: Slack
) -> None:
    answers = asyncio.Event()

    @asynccontextmanager
    async def hold(method: str) -> AsyncIterator[None]:
        if method == "views.publish":
            await answers.wait()
        yield

    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        await opened(slack, ALICE)
        slack.observe(hold)
        await slack.press_home(ALICE, REFRESH)
        await wait_until(lambda: slack.count("views.publish") == 2, "it is being shown")
        await asyncio.gather(*(slack.press_home(ALICE, REFRESH) for _ in range(5)))
        answers.set()
        await wait_until(lambda: len(slack.workspace.home_history) == 3, "it is shown once more")
        answers.clear()
        await slack.press_home(ALICE, REFRESH)
        await wait_until(lambda: slack.count("views.publish") == 4, "nothing else was shown")
    running = [str(each.get_coro()) for each in asyncio.all_tasks()]
    assert not [each for each in running if "HomeTabs" in each]
    answers.set()


async def test_the_answer_to_a_button_comes_in_direct_messages_when_the_tab_cannot_be_shown(
    storage: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    """A form that cannot be opened is said on the tab."""
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        await remember(slack, ALICE, "Alice likes tea")
        await wait_until_filed(redis, 1)
        await opened(slack, ALICE)
        slack.fail("views.open", error="expired_trigger_id")
        await slack.press_home(ALICE, FEEDBACK)
        await wait_until(lambda: home_texts.FORM_NOT_OPENED in text_of(slack, ALICE), "the tab says so")
        slack.fail("views.publish", error="internal_error", times=math.inf)
        assert (await slack.press_home(ALICE, FORGET)).acked

        def is_told() -> bool:
            return any("I have forgotten" in each.visible_text for each in slack.messages(slack.dm(ALICE)))

        await wait_until(is_told, "she is told in direct messages")
