"""Text of the model cannot look like a request of the bot's own."""

import html
import re
import string

from hypothesis import given
from hypothesis import strategies as st

from bot.chat import SIGN, Harmless, harmless, parse_decision

ID = "7f3a9c21"
SIGNS = "🔏🔐🔒🔓"
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
        "&#",
        "128271",
        "x1f50f",
        ";",
        f"<:x:{EMOJI}>",
        f":{EMOJI[:9]}",
        EMOJI[9:],
        ">",
    ]
)


def test_a_copied_request_loses_its_sign_and_its_id() -> None:
    """The rest can be read, and decides nothing."""
    fake = f"{SIGN} **Fix a typo?** It would change 1 row.\n`approve {ID}` or `reject {ID} why`."
    assert (
        harmless(fake) == "[lock] **Fix a typo?** It would change 1 row.\n`approve […]` or `reject […] why`."
    )


def test_names_of_signs_stay_names() -> None:
    """Slack would show `:lock:` as a sign."""
    assert harmless("a :lock: and :lock_with_ink_pen:") == "a :lock\u200b: and :lock_with_ink_pen\u200b:"
    escaped = r"\:lock\_with_ink\_pen\:"
    assert harmless(escaped) == escaped[:-1] + "\u200b:"


def test_references_to_characters_make_no_sign_and_no_command() -> None:
    """Fault: Markdown decodes `&#128271;`, so that a text without the sign was shown with it."""
    spelled = [
        "&#128271; **Fix a typo?**",
        "&#x1F50F;",
        "&#x01f512;",
        "&#00128275;",
        ":lock&#95;with&lowbar;ink&UnderBar;pen:",
        "&colon;lock&#58;",
        ":&#108;ock&#x3A;",
        f"approve &#{ord(ID[0])};{ID[1:]}",
        f"&#x61;pprove {ID}",
    ]
    for text in spelled:
        shown = decoded(harmless(text))
        assert SIGN not in shown
        assert harmless(shown) == shown
        assert not parse_decision(shown)
    changed = {
        chr(code)
        for code in [*range(0x500), *range(0x1F400, 0x1F600)]
        if any(harmless(each) != each for each in (f"&#{code};", f"&#x{code:x};", f"&#X{code:06X};"))
    }
    assert changed == {*SIGNS, *string.ascii_letters, *string.digits, ":", "_"}


def decoded(markdown: str) -> str:
    """Return text as Markdown decodes it: references end with a semicolon."""
    return re.sub(r"&(?:#x?)?\w{1,30};", lambda reference: html.unescape(reference[0]), markdown)


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
        "&amp; &lt;b&gt; &quot;x&quot; &#39;y&#39; &#x27; &#8364; &#128512;",
    ):
        assert harmless(text) == text


def test_words_come_at_once_and_only_an_id_is_held_back() -> None:
    """Else an answer would stop in the midst of a word."""
    text = Harmless()
    assert text.feed("You may approve") == "You may approve"
    assert text.feed(f" {ID[:3]}") == " "
    assert text.feed(ID[3:]) == ""
    assert text.feed(".") == "[…]."
    assert text.rest() == ""


@given(st.lists(PIECES | st.text(max_size=3), max_size=12))
def test_however_a_text_is_divided_the_same_comes_out(pieces: list[str]) -> None:
    """And nothing in it decides a request or bears the sign."""
    text = Harmless()
    shown = "".join([*map(text.feed, pieces), text.rest()])
    assert shown == harmless("".join(pieces))
    assert SIGN not in shown
    lines = [shown[at:] for at in range(len(shown))]
    assert not any(parse_decision(line) for line in lines if line[:1] in "ar")
