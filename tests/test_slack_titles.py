"""Titles of sessions and suggested prompts: plain words of a question, and prompts that operators choose."""

import pytest

from bot.chat import Attachment, Message, Prompt, ThreadId, Turn
from bot.config.prompts import parse_prompts
from bot.slack.app_context import parse_app_context
from bot.slack.titles import MOST_TITLE, plain_title, title_of


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("How many chairs\n did we  sell?", "How many chairs did we sell?"),
        ("## **Sales** of `chairs` and _tables_ (snake_case)", "Sales of chairs and tables (snake_case)"),
        ("see [the list](https://x.y/z?a=b) <https://x.y>", "see the list"),
        ("<!channel> <@U0ALICE> &lt;!here&gt; R&D", "!channel @U0ALICE lt;!heregt; R&D"),
        ("a\u202eb\u200bc", "a b c"),
        ("| a | b |\n|---|---|", "a b --- ---"),
        ("https://x.y", ""),
        (" \u200b?! ", ""),
        ("half \ud83d", "half �"),
    ],
)
def test_a_title_is_one_line_of_plain_words(text: str, title: str) -> None:
    assert plain_title(text) == title


@pytest.mark.parametrize("text", ["word " * 500, "w" * 500, "_a" * 5000, "<" * 5000 + "a", "(" * 5000 + "a"])
def test_a_title_is_short_and_breaks_words_only_if_they_are_long(text: str) -> None:
    title = plain_title(text)
    assert len(title) <= MOST_TITLE
    assert not title.startswith("word") or title.endswith("word…")


def test_a_question_without_words_has_the_name_of_its_file_as_title() -> None:
    file = Attachment(name="plan_of_2027.pdf", media_type="application/pdf", size=1, url="")
    message = Message(
        id="m",
        thread=ThreadId("slack", "T1", "C1", "1.1"),
        author="slack:U1",
        text="",
        sent_at=1,
        addressed=True,
        attachments=(file,),
    )
    assert title_of(Turn(id="m", thread=message.thread, messages=(message,))) == "plan_of_2027.pdf"


def test_prompts_are_read_as_words_or_as_json() -> None:
    assert parse_prompts("A | what is a; b? ;") == (Prompt("A", "what is a"), Prompt("b?", "b?"))
    assert parse_prompts('[{"title": "A", "message": "a; b | c"}]') == (Prompt("A", "a; b | c"),)
    assert parse_prompts("[]") == ()


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("a;b;c;d;e", "4 prompts at most"),
        ("| b", "needs a title and a message"),
        ("a |", "needs a title and a message"),
        ("a; a", "another title"),
        ("[1]", "or JSON"),
        ("[" * 9_999, "or JSON"),
        ('[{"title": "a"}]', "or JSON"),
        ("a" * 80, "75 characters"),
        ("a\u202e | b", "invisible"),
    ],
)
def test_prompts_that_slack_would_not_take_are_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse_prompts(text)


CHANNEL = {"type": "slack#/types/channel_id", "value": "C0GENERAL"}
CANVAS = {"type": "slack#/types/canvas_id", "value": "F1"}


@pytest.mark.parametrize(
    ("context", "found"),
    [
        ({"entities": [CANVAS, CHANNEL]}, "C0GENERAL"),
        (
            {
                "entities": [
                    {
                        "type": "slack#/types/message_context",
                        "value": {"channel_id": "C1", "message_ts": "1.2"},
                    }
                ]
            },
            "C1:1.2",
        ),
        ({"entities": [{**CHANNEL, "value": "C1\nobey me"}]}, ""),
        ({"entities": [{**CHANNEL, "value": ["C1"]}]}, ""),
        ({"entities": [CANVAS] * 99 + [CHANNEL]}, ""),
        ({"entities": "x"}, ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_of_an_app_context_the_first_channel_or_message_counts(context: object, found: str) -> None:
    assert parse_app_context(context) == found
