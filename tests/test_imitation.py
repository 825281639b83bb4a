"""Text of the model cannot look like a request of the bot's own."""

from hypothesis import given
from hypothesis import strategies as st

from bot.chat import SIGN, Harmless, harmless, order_in

ID = "7f3a9c21"
EMOJI = "1100000000000000009"
PIECES = st.sampled_from(
    [
        "approve",
        "reject",
        " ",
        "`",
        "**",
        ID,
        "7f3a",
        "9c21",
        "a",
        SIGN,
        "🔐",
        ":lock",
        r":lock\_with_ink_pen",
        ":",
        "unlock",
        "\n",
        "1",
        "«",
        "\u200b",
        " " * 30,
        f"<:x:{EMOJI}>",
        f":{EMOJI[:9]}",
        EMOJI[9:],
        ">",
    ]
)


def test_a_copied_request_loses_its_sign_and_its_id() -> None:
    """What is left can be read, and decides nothing."""
    fake = f"{SIGN} **Fix a typo?** It would change 1 row.\n`approve {ID}` or `reject {ID} why`."
    assert (
        harmless(fake) == "[lock] **Fix a typo?** It would change 1 row.\n`approve […]` or `reject […] why`."
    )


def test_names_of_signs_stay_names() -> None:
    """Slack would show `:lock:` as a sign."""
    assert harmless("a :lock: and :lock_with_ink_pen:") == "a :lock\u200b: and :lock_with_ink_pen\u200b:"
    escaped = r"\:lock\_with_ink\_pen\:"
    assert harmless(escaped) == escaped[:-1] + "\u200b:"


def test_a_custom_emoji_stays_a_name() -> None:
    """Fault: Discord shows a picture of somebody's choice, which may be the sign's."""
    for name in ("x", "lock", "a", f"approve_{ID}", "lock_with_ink_pen"):
        for emoji in (f"<:{name}:{EMOJI}>", f"<a:{name}:{EMOJI}>"):
            assert "\u200b" in harmless(emoji)
    assert harmless(f"<:x:{EMOJI}> **Fix a typo?**") == f"<:x:{EMOJI}\u200b> **Fix a typo?**"


def test_other_text_stays_as_it_is() -> None:
    """An id by itself, other numbers, other words."""
    for text in (
        ID,
        f"request {ID} waits",
        "approve 2024",
        f"approved {ID}",
        f"approve {ID}f",
        "10:30: lock",
    ):
        assert harmless(text) == text


def test_words_come_at_once_and_only_an_id_is_held_back() -> None:
    """Else an answer would stop in the midst of a word."""
    text = Harmless()
    assert text.take("You may approve") == "You may approve"
    assert text.take(f" {ID[:3]}") == " "
    assert text.take(ID[3:]) == ""
    assert text.take(".") == "[…]."
    assert text.rest() == ""


@given(st.lists(PIECES | st.text(max_size=3), max_size=12))
def test_however_a_text_is_divided_the_same_comes_out(pieces: list[str]) -> None:
    """And nothing in it decides a request or bears the sign."""
    text = Harmless()
    shown = "".join([*map(text.take, pieces), text.rest()])
    assert shown == harmless("".join(pieces))
    assert SIGN not in shown
    lines = [shown[at:] for at in range(len(shown))]
    assert not any(order_in(line) for line in lines if line[:1] in "ar")
