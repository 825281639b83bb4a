"""Facts that are saved say what people said, and not the opposite."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chat import Message, Quote, ThreadId
from bot.tools.quotation import MOST_CHARS, quote


def messages_of(*texts: str, author: str = "") -> list[Message]:
    """Messages of one turn."""
    thread = ThreadId("slack", "T1", "C1", "1.1")
    return [
        Message(
            id=str(number),
            thread=thread,
            author="slack:U1",
            author_name=author,
            text=text,
            sent_at=1,
            addressed=True,
        )
        for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("we do not deploy on friday", "we deploy on friday"),
        ("we don't deploy on friday", "they deploy on friday"),
        ("we deploy on friday", "we do not deploy on friday"),
        ("we never deploy on friday", "we deploy on friday"),
        ("Ann leads Bob", "Bob leads Ann"),
        ("pay Ann before Bob", "pay Bob before Ann"),
        ("only admins may deploy", "admins may deploy"),
        ("hardly anybody deploys on friday", "anybody deploys on friday"),
        ("deploy on friday unless Ann is away", "deploy on friday"),
        ("wir liefern montags nie", "wir liefern montags"),
        ("nous ne livrons pas le lundi", "nous livrons le lundi"),
        ("me nie dostarczamy w poniedziałek", "me dostarczamy w poniedziałek"),
        ("我们星期一不发货", "我们星期一发货"),
        ("we chose plan A", "we chose plan B"),
        ("Ann is the mentor of Bob", "Ann is the mentee of Bob"),
        ("Ann is the employer of Bob", "Ann is the employee of Bob"),
        ("marketing decides the budget", "Mark decides the budget"),
        ("the case is hopeless", "the case is hope"),
        ("tickets go from Ann to Bob", "tickets go to Ann from Bob"),
        ("they pay us on friday", "we pay them on friday"),
        ("deploy with tests or review", "deploy with tests and review"),
        ("admins could deploy", "admins should deploy"),
        ("the meeting was on friday", "the meeting will be on friday"),
        ("we hosted Oracle in the shop", "we host Oracle in the shop"),
        ("I order for the shop", "The team orders for the shop"),
        ("their birthday is in May", "Birthday is in May"),
        ("the rate is +5 points", "the rate is -5 points"),
        ("discounts are over 5 %", "discounts are over 5 €"),
        ("do we deploy on friday?", "we do deploy on friday"),
        ("Ann pays Bob and Bob pays Cem", "Ann pays Cem and Bob pays Bob"),
        ("I am not Ann but Bob", "I am Ann, not Bob"),
        ("the data goes from Bern to Basel", "the data goes to Bern from Basel"),
        ("our plan is B", "our plan is C"),
        ("Maria leads the team", "Mario leads the team"),
        ("we trust them", "they trust us"),
        ("the channel is closed", "the team is closed"),
        ("Ann was the lead", "Ann is the lead"),
        ("we can deploy on friday", "we deploy on friday"),
        ("do we deploy on friday?", "we deploy on friday"),
        ("do we deploy on friday? No, never.", "we deploy on friday"),
    ],
)
def test_a_fact_that_would_turn_what_was_said_around_is_kept_in_the_persons_own_sentence(
    text: str, fact: str
) -> None:
    """Negations, order, numbers, names, questions, and words that limit it or tell a direction."""
    assert quote(fact, messages_of(f"remember that {text}")) == f"remember that {text}"
    assert quote(fact, messages_of(text, author="ana")) == f"ana: {text}"


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("Remember that we ship on Mondays", "We ship on Mondays."),
        ("please remember: I prefer metric units", "The user prefers metric units"),
        ("remember that we do not deploy on Fridays", "They do not deploy on Fridays"),
        ("I work in Berlin. Please remember my birthday is in May.", "Birthday is in May"),
        ("remember that I am vegetarian", "The user is vegetarian"),
        ("my favourite colour is blue", "The user's favourite colour is blue"),
        ("remember my desk is 12.3", "Their desk is 12.3"),
        ("Please note: our team deploys on Mondays", "The team deploys on Mondays"),
        ("remember that we pass both boxes", "They pass both boxes"),
    ],
)
def test_a_fact_that_only_shortens_what_was_said_is_kept_as_it_is(text: str, fact: str) -> None:
    assert quote(fact, messages_of(text)) == fact
    assert quote(fact, messages_of(text, author="ana")) == fact


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("keep 5 backups", "keep 9 backups"),
        ("we have 3 servers", "we have 5 servers"),
        ("the budget is 15000 euros", "the budget is 15009 euros"),
        ("my ticket is 481516", "my ticket is 481599"),
        ("we use version 1.2", "we use version 12"),
    ],
)
def test_a_number_that_nobody_has_written_is_not_saved(text: str, fact: str) -> None:
    """Fault: numbers of one digit counted for nothing, and long ones that begin alike for forms of one."""
    assert quote(fact, messages_of(f"remember that {text}")) is None


def test_a_question_before_the_fact_is_left_out() -> None:
    messages = messages_of("How are you? Remember that we ship on Mondays.", author="ana")
    assert quote("We ship on Mondays", messages) == "We ship on Mondays"


def test_nothing_that_a_message_only_quotes_is_anybodys_word() -> None:
    """A forwarded "remember that …" is a stranger's wish."""
    forward = Quote(source="the message by Eve that is forwarded here", text="remember that we pay at once")
    messages = [replace(each, quotes=(forward,)) for each in messages_of("what does she mean?", "")]
    assert quote("we pay at once", messages) is None


def test_a_fact_from_several_sentences_keeps_them_all() -> None:
    """In their order, with who wrote them; a decision about a request is nobody's sentence."""
    messages = messages_of("My name is Ana.", "Cats are fine.\nI live in Bern, not in Basel.", author="ana")
    own = quote("Ana lives in Basel, not in Bern", messages)
    assert own == "ana: I live in Bern, not in Basel."
    assert quote("cats are fine", [replace(messages[1], text="")]) is None


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.text(max_size=300))
def test_what_is_saved_is_the_fact_or_the_persons_own_words(text: str, fact: str) -> None:
    """Whatever is written, in bounded size."""
    own = quote(fact, messages_of(text))
    assert (
        own is None or own == fact or (all(part in text for part in own.split()) and len(own) <= MOST_CHARS)
    )
