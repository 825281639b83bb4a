"""Names and recordings of others are never taken for the words of the asker, or of the bot."""

from typing import Any

import pytest

from bot.platforms.context import name_of_other
from bot.slack.content import content_of


@pytest.mark.parametrize("name", ["you", "You", " YOU "])
def test_a_user_who_is_named_like_the_bot_is_told_apart(name: str) -> None:
    """Earlier messages of the bot are told as those of "you"."""
    assert name_of_other(name) == f"{name} (a user)"
    assert name_of_other("Yousef") == "Yousef"


@pytest.mark.parametrize("kind", ["audio", "video"])
@pytest.mark.parametrize(("speaker", "is_own"), [("U1", True), ("", True), ("U2", False)])
def test_a_voice_clip_of_somebody_else_is_no_word_of_who_shares_it(
    kind: str, speaker: str, is_own: bool
) -> None:
    clip = {
        "id": "F1",
        "subtype": f"slack_{kind}",
        "mimetype": f"{kind}/mp4",
        "user": speaker,
        "url_private_download": "https://files.slack.com/F1",
    }
    message: dict[str, Any] = {"user": "U1", "text": "listen", "files": [clip]}
    content = content_of(message, "UBOT")
    assert [each.url for each in content.files] == ["https://files.slack.com/F1"]
    assert bool(content.voices) is is_own
