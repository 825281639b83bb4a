"""Requests as each platform shows them: what they hold, and what nobody can smuggle into them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bot.chat import SIGN, Approval
from bot.discord.request_forms import render_request as on_discord
from bot.http import replies
from bot.slack.request_forms import render_request as slack_request

ASKED = Approval(
    id="7f3a9c21",
    title="Change the database",
    action="DELETE FROM shelf WHERE name = '<@U0EVE> & ``` **bold**'",
    effect="It would delete 1 row of shelf.",
    expires_at=0.0,
    approvers=("discord:400", "discord:401", "http:api", "slack:U0BOB"),
    asked_in="slack:T1:C1:1.1",
    language="sql",
    askers=("discord:399",),
    names={"discord:399": "Ada", "discord:401": "Carol"},
)
DECIDED = replace(ASKED, state="approved", by="discord:400", reason="checked")


def on_slack(approval: Approval) -> str:
    return str(slack_request(approval))


def request_text(approval: Approval) -> str:
    return replies.request_text(approval, "http:api")


SHOWN: dict[str, Callable[[Approval], str]] = {"slack": on_slack, "discord": on_discord, "http": request_text}


@pytest.mark.parametrize("platform", SHOWN)
@pytest.mark.parametrize("approval", [ASKED, DECIDED], ids=["asked", "decided"])
def test_a_request_shows_its_sign_statement_effect_and_asker(platform: str, approval: Approval) -> None:
    """Before and after it is decided: nothing of it is hidden by the decision."""
    shown = SHOWN[platform](approval)
    for each in (
        SIGN,
        "Change the database",
        "DELETE FROM shelf WHERE name =",
        "It would delete 1 row of shelf.",
    ):
        assert each in shown
    assert ("<@399>" if platform == "discord" else "Asked for by Ada") in shown


def test_no_account_of_another_platform_is_shown_by_its_id() -> None:
    """Slack shows `discord:400…` where a name belongs: it is a name, or a word for somebody there."""
    assert "discord:" not in on_slack(ASKED) + on_slack(DECIDED) + request_text(ASKED) + request_text(DECIDED)
    assert "Carol or <@U0BOB> or an approver on Discord or an approver over HTTP can press" in on_slack(ASKED)
    assert "Approved by somebody on Discord: checked" in on_slack(DECIDED)
    assert "<@400> or <@401> or an approver over HTTP or an approver on Slack can press" in on_discord(ASKED)
    assert "Carol or you or an approver on Discord or an approver on Slack can press" in request_text(ASKED)


@pytest.mark.parametrize("run", range(3, 9))
def test_no_run_of_backticks_ends_the_block_of_the_statement(run: int) -> None:
    """Fault: of five in a row three stayed, and what followed looked like a text of the bot."""
    approval = replace(ASKED, action=f"UPDATE shelf SET name = '{'`' * run}\n# Harmless'")
    for shown in (on_discord(approval), request_text(approval)):
        assert shown.count("```") == 2


def test_the_statement_is_data_on_slack() -> None:
    """It pings nobody there, and is not formatted."""
    code = slack_request(ASKED).blocks[1]["elements"][0]
    assert code == {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": ASKED.action}]}


@pytest.mark.parametrize("platform", SHOWN)
@pytest.mark.parametrize(
    "name",
    ["@everyone", f"{SIGN} **x** `approve 7f3a9c21`", "<@U0EVE> <!channel>", "[a](https://x.y)", "a\n\nb"],
)
def test_a_display_name_is_only_a_name(platform: str, name: str) -> None:
    """People choose it themselves."""
    asked = replace(ASKED, approvers=(), askers=("other:1",), names={"other:1": name})
    shown = SHOWN[platform](asked)
    line = shown.partition("Asked for by ")[2].partition(".")[0]
    assert not set(line) & set("<>@*`[]()\n" + SIGN)
    assert "approve 7f3a" not in line


@pytest.mark.parametrize("platform", SHOWN)
def test_a_title_of_a_plug_in_cannot_show_another_request(platform: str) -> None:
    """The sign stands once, and no command but that of the request itself."""
    fake = f"{SIGN} Fix a typo? Write `approve 00000000`"
    shown = SHOWN[platform](replace(ASKED, title=fake, effect=fake))
    assert "00000000" not in shown
    assert shown.count(SIGN) == SHOWN[platform](ASKED).count(SIGN)


def test_the_longest_request_fits_into_one_message_of_discord() -> None:
    """People are counted rather than named where all of it would not fit."""
    people = tuple(f"discord:{10**18 + each}" for each in range(9))
    longest = replace(
        ASKED, title="t" * 100, effect="e" * 200, action="a" * 1_500, approvers=people, askers=people
    )
    assert len(on_discord(longest)) <= 2_000
    assert "a" * 1_500 in on_discord(longest)
    assert len(on_discord(replace(longest, state="approved", by=people[0], reason="r" * 500))) <= 2_000
