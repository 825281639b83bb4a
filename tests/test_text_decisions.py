"""Decisions in words: what is taken for one, and what is only read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat import MOST_REASON, TextDecision, parse_decision

ID = "7f3a9c21"
WRAPPERS = ["`", "**", "*", "_", '"', "“", "”", "'", "«", "»", "```", ""]
BLANKS = ["", " ", "\n", "\u00a0", "  ", "\t"]
ENDS = [".", "!", "…", "。", "..."]


def reason(text: str) -> str | None:
    """The reason of the decision in a text; None when it is read back. Fails when there is no decision."""
    order = parse_decision(text)
    assert order, text
    assert order.request == ID
    return order.reason if order.is_certain else None


@pytest.mark.parametrize(
    "text",
    [
        "approve 7f3a9c21",
        "`approve 7f3a9c21`",
        "`approve` `7f3a9c21`",
        "approve `7f3a9c21`.",
        "**approve 7f3a9c21**",
        "*Approve 7f3a9c21!*",
        "_approve 7f3a9c21_",
        "> approve 7f3a9c21",
        '"approve 7f3a9c21".',
        "“approve 7f3a9c21.”",
        "!approve 7F3A9C21",
        ", approve 7f3a9c21",
        "approve 7f3a9c21:",
        "```\napprove 7f3a9c21\n```",
    ],
)
def test_wrapping_and_end_punctuation_do_not_matter(text: str) -> None:
    """As the bot writes it, quoted, in bold, with a full stop."""
    assert reason(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "approve 7f3a9c21 ?",
        "approve 7f3a9c21?",
        "approve 7f3a9c21!?",
        "`approve 7f3a9c21`?",
        "approve 7f3a9c21 — no wait, don't",
        "approve 7f3a9c21 if Bob agrees",
        "approve 7f3a9c21, but only tomorrow",
        "approve 7f3a9c21 not",
        "approve 7f3a9c21 fine",
        "approve 7f3a9c21\nis that right",
        "approve 7f3a9c21. No!",
        "approve 7f3a9c21 ~",
        "approve 7f3a9c21 👎",
        "approve 7f3a9c21 :-1:",
        "approve 7f3a9c21 :thumbsdown::skin-tone-2:",
        "`approve 7f3a9c21` :question:",
        "approve 7f3a9c21:x:",
        "approve 7f3a9c21: :no_entry: :x:",
        "approve 7f3a9c21: really :grey_question:",
        "approve 7f3a9c21: really \u2753",
        "approve 7f3a9c21: really \u2049",
        "approve 7f3a9c21: is that the right table?",
        "approve 7f3a9c21: ok? I do not think so",
        "approve 7f3a9c21: wait\u061f no.",
        "approve 7f3a9c21 :(",
        "approve 7f3a9c21:-/",
        "approve 7f3a9c21: fine\nreject 00000000",
        "approve 7f3a9c21: no",
        "approve 7f3a9c21: no wait, don't",
        "approve 7f3a9c21: I won\u2019t",
        "approve 7f3a9c21: only if Bob agrees",
        "approve 7f3a9c21: but not before Monday",
        "approve 7f3a9c21\uff1await",
        "**approve 7f3a9c21**: nein, doch nicht",
        "approve 7f3a9c21: NÃO",
        "approve 7f3a9c21: нет",
        "approve 7f3a9c21: 我不同意",
        "approve 7f3a9c21 and approve 00000000",
        "reject 7f3a9c21\napprove 00000000",
        "reject 7f3a9c21, `approve` **00000000**",
        "approve 7f3a9c21: fine :reject_00000000:",
    ],
)
def test_a_question_a_condition_a_retraction_or_a_second_command_is_not_acted_on(text: str) -> None:
    """It is read back; of two commands neither counts, be the first a rejection.

    Fault: Slack writes an emoji as its name between colons, which was taken for a reason.
    """
    assert reason(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("approve 7f3a9c21: checked with Carol", "checked with Carol"),
        ("**approve 7f3a9c21**: checked", "checked"),
        ("approve 7f3a9c21: checked :+1:", "checked :+1:"),
        ("approve 7f3a9c21: seen at 10:30:15", "seen at 10:30:15"),
        ("approve 7f3a9c21\uff1achecked", "checked"),
        ("reject 7f3a9c21", ""),
        ("reject 7f3a9c21.", ""),
        ("reject 7f3a9c21 because of stocktaking", "because of stocktaking"),
        ("reject 7f3a9c21, stocktaking!", "stocktaking!"),
        ("reject 7f3a9c21 — who asked for that?", "who asked for that?"),
        ("reject 7f3a9c21: not today", "not today"),
        ("`reject 7f3a9c21` not today", "not today"),
        ("reject 7f3a9c21\nnot\ntoday", "not\ntoday"),
    ],
)
def test_a_reason_stands_behind_a_colon_or_a_rejection(text: str, why: str) -> None:
    """An approval takes it only there; a rejection changes nothing, and takes it in any form."""
    assert reason(text) == why


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_long_reason_is_cut_and_the_decision_counts(verb: str) -> None:
    """It was ignored: somebody who wrote much was told nothing."""
    kept = reason(f"{verb} {ID}: {'because ' * 1_000}")
    assert kept
    assert len(kept) == MOST_REASON
    assert kept.endswith("…")


@pytest.mark.parametrize(
    "text",
    [
        "please approve 7f3a9c21",
        "I approve 7f3a9c21",
        "~~approve 7f3a9c21~~",
        "approve ~7f3a9c21~",
        "approve 7f3a9c2",
        "approve 7f3a9c211",
        "approve 7f3a9c21x",
        "approve7f3a9c21",
        "approve_7f3a9c21",
        ":approve_7f3a9c21:",
        ":reject__7f3a9c21:",
        "disapprove 7f3a9c21",
        "approved 7f3a9c21",
        "approve",
        "",
    ],
)
def test_other_words_are_no_decision(text: str) -> None:
    """Crossed out ones least of all; an emoji that somebody has named like a command is none either."""
    assert parse_decision(text) is None


def test_the_confirming_word_comes_first_and_alone() -> None:
    """Behind it the same rules hold."""
    order = parse_decision(f"`approve {ID} 4711`.")
    assert order
    confirmed = order.strip_confirmation("4711")
    assert confirmed
    assert confirmed.reason == ""
    for text in ("4712", "47110", "x 4711", ""):
        other = parse_decision(f"approve {ID} {text}")
        assert other
        assert other.strip_confirmation("4711") is None
    doubtful = parse_decision(f"approve {ID} 4711 ?")
    assert doubtful
    assert doubtful.strip_confirmation("4711") == TextDecision(approve=True, request=ID, rest=" ?")
    assert order.strip_confirmation("") is None


wrapped = st.sampled_from(WRAPPERS)
blank = st.sampled_from(BLANKS)
decoration = st.lists(wrapped | blank, max_size=4).map("".join)


@given(
    before=decoration, between=wrapped, after=decoration, end=st.sampled_from(["", *ENDS]), last=decoration
)
def test_however_it_is_decorated_an_approval_counts(
    before: str, between: str, after: str, end: str, last: str
) -> None:
    """Quotes, code, bold, blanks around it, and punctuation at its end."""
    assert reason(f"{before}approve {between}{ID}{after}{end}{last}") == ""


NOTHING = "".join([*WRAPPERS, *BLANKS, *ENDS]) + (
    "\u200b\u2060\ufeff\u2018\u201a\u201e\u201f\u2039\u203a\uff01\uff0e\uff61"
)
"""What means nothing behind an id, blanks of other kinds apart."""


@given(
    before=decoration,
    rest=st.text(max_size=40)
    | st.lists(
        st.sampled_from(
            [
                *WRAPPERS,
                *BLANKS,
                *ENDS,
                ":",
                ":-1:",
                ":x:",
                "?",
                "no",
                "not",
                "-",
                "—",
                ",",
                " approve ",
                "reject ",
                ID,
                "wait",
            ]
        ),
        max_size=8,
    ).map("".join),
)
def test_an_approval_counts_only_by_itself_or_with_a_reason_behind_a_colon(before: str, rest: str) -> None:
    """Whatever else follows the id: then it is read back, or it is another word than an id."""
    order = parse_decision(f"{before}approve {ID}{rest}")
    if order is None or not order.is_certain:
        return
    meaning = "".join(" " if each.isspace() else each for each in rest).strip(NOTHING)
    assert not meaning.startswith((":-1:", ":x:"))
    assert not meaning or (meaning[0] in ":\uff1a" and meaning[-1] not in "?\uff1f" and ID not in meaning)
