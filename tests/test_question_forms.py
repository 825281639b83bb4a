"""Questions as each platform shows them: what they hold, and what the model cannot smuggle into them."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from bot.chat import SIGN, Inquiry, Question, Request, harmless
from bot.discord.request_buttons import buttons
from bot.discord.request_forms import render_request as on_discord
from bot.discord.request_forms import users_to_notify
from bot.http import replies
from bot.slack.request_forms import render_request as slack_request
from bot.tools.questions import MOST_OPTION, MOST_OPTIONS, MOST_QUESTION, ask_user
from bot.tools.waiting import WaitingTool

ASKED = Question(
    id="7f3a9c21",
    text="Which **fruit**?",
    options=("Apples", "Pears"),
    respondents=("slack:UADA", "discord:399"),
    asked_at=0.0,
    expires_at=0.0,
    asked_in="slack:T1:C1:1.1",
    names={"slack:UADA": "Ada", "discord:399": "Bob"},
)
ANSWERED = replace(ASKED, state="answered", by="discord:399", answer="Pears")
BAD = "<!channel> <@U0EVE> @everyone <@400> [a](https://x.y) `approve 00000000` **b**"


def on_slack(request: Request) -> str:
    return str(slack_request(request).blocks)


def request_text(question: Question) -> str:
    return replies.request_text(question, "http:api")


SHOWN: dict[str, Callable[[Question], str]] = {"slack": on_slack, "discord": on_discord, "http": request_text}


@pytest.mark.parametrize("platform", SHOWN)
def test_a_question_shows_whom_it_is_for_and_later_the_answer(platform: str) -> None:
    shown = SHOWN[platform](ASKED)
    assert "Which **fruit**?" in shown
    assert {"slack": "<@UADA>", "discord": "<@399>", "http": "Ada and Bob"}[platform] in shown
    answered = SHOWN[platform](ANSWERED)
    assert "Which **fruit**?" in answered
    assert f"{'<@399>' if platform == 'discord' else 'Bob'} answered: Pears" in answered


@pytest.mark.parametrize("platform", SHOWN)
def test_a_question_cannot_pass_for_an_approval_request(platform: str) -> None:
    """The sign of requests is not in it, and its buttons decide nothing."""
    fake = f"{SIGN} **Delete all?** `approve 00000000` :lock_with_ink_pen:"
    asked = replace(ASKED, text=harmless(fake), options=(harmless(f"{SIGN} Approve"), "Reject"))
    shown = SHOWN[platform](asked)
    assert SIGN not in shown
    assert "00000000" not in shown
    assert SIGN not in SHOWN[platform](replace(ANSWERED, answer=fake))
    names = re.findall(r"'action_id': '([^']*)'", on_slack(asked))
    names += [str(getattr(each, "custom_id", "")) for each in buttons(asked).children]
    assert len(names) == 5, "a button for words on Discord, where they may have no place"
    assert all(name.startswith("answer:") for name in names)


def test_the_text_of_a_question_pings_nobody_on_slack() -> None:
    """Nor do an option or an answer."""
    asked = replace(ASKED, text=BAD, options=(BAD[:70], "<!here>"))
    for shown in (on_slack(asked), on_slack(replace(ANSWERED, answer=BAD))):
        assert not re.search(r"<!(channel|here)|<@U0EVE", shown)
    labels = [each["text"] for each in slack_request(asked).blocks[-1]["elements"]]
    assert all(each["type"] == "plain_text" and each["emoji"] is False for each in labels)


def test_only_the_users_who_are_asked_are_notified_on_discord() -> None:
    """Discord notifies those alone who are listed beside the text, whatever it mentions."""
    assert users_to_notify(replace(ASKED, text=BAD)) == [399]
    answered = on_discord(replace(ANSWERED, answer="**b** `c`"))
    assert "\\*\\*b\\*\\* \\`c\\`" in answered


@pytest.mark.parametrize(
    "text", ["x" * MOST_QUESTION, "*_`~" * 250, "| a | b |\n|-|-|\n" + "| 1 | 2 |\n" * 90]
)
def test_the_longest_question_fits_into_one_message(text: str) -> None:
    """With the longest answer, and as many names as are shown."""
    people = tuple(f"discord:{10**18 + each}" for each in range(9))
    for asked in (replace(ASKED, text=text, respondents=people), replace(ANSWERED, text=text)):
        assert len(on_discord(replace(asked, answer="*_" * 400))) <= 2_000


def test_options_are_buttons_up_to_five_and_then_a_menu() -> None:
    """Each label has the length that both platforms take, also after signs in it are replaced."""
    for count in (1, 5, 6, MOST_OPTIONS):
        options = tuple(harmless(f"{SIGN} {number} " + "x" * 70) for number in range(count))
        asked = replace(ASKED, options=options)
        (*_, actions) = slack_request(asked).blocks
        kinds = {each["type"] for each in actions["elements"]}
        assert kinds == {"button" if count <= 5 else "static_select"}
        items: list[Any] = actions["elements"] if count <= 5 else actions["elements"][0]["options"]
        assert len(items) == count
        assert all(len(each["text"]["text"]) <= 75 for each in items)
        assert len(buttons(asked).children) == (count if count <= 5 else 1) + 1, "and one for words"


def test_without_options_there_are_no_buttons_for_them() -> None:
    asked = replace(ASKED, options=())
    assert slack_request(asked).blocks[-1]["type"] == "context"
    (words,) = buttons(asked).children
    assert getattr(words, "custom_id", "") == f"answer:{asked.id}:words"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"question": " "},
        {"question": "\u200b"},
        {"question": "x" * (MOST_QUESTION + 1)},
        {"question": "x", "options": ["a"] * 2},
        {"question": "x", "options": ["a", "A "]},
        {"question": "x", "options": ["a\u200b", "a"]},
        {"question": "x", "options": [""]},
        {"question": "x", "options": ["\u2066"]},
        {"question": "x", "options": ["x" * (MOST_OPTION + 1)]},
        {"question": "x", "options": [str(number) for number in range(MOST_OPTIONS + 1)]},
        {"question": "x", "options": "yes"},
    ],
)
async def test_a_question_out_of_bounds_goes_back_to_the_model(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await _inquiry(arguments)


async def test_an_option_is_one_line_without_invisible_characters() -> None:
    arguments = {"question": "x", "options": [" a\n\u202eb ", "c"]}
    assert (await _inquiry(arguments)).options == ("a b", "c")


async def _inquiry(arguments: dict[str, Any]) -> Inquiry:
    tool = ask_user()
    assert isinstance(tool, WaitingTool)
    call = await tool.waiting_call("7f3a9c21", arguments)
    assert isinstance(call, Inquiry)
    return call
