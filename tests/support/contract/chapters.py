"""All features in the order of the page; writes the page when it is run."""

from collections.abc import Sequence

from tests.support.bot import ROOT
from tests.support.contract.answers import ANSWERS
from tests.support.contract.commands import BUTTONS, COMMANDS
from tests.support.contract.conversations import CONVERSATIONS
from tests.support.contract.feature import Chapter, document
from tests.support.contract.requests import REQUESTS

CHAPTERS: Sequence[Chapter] = (
    ("Conversations", CONVERSATIONS),
    ("Answers", ANSWERS),
    ("Approvals and questions", REQUESTS),
    ("Buttons below an answer", BUTTONS),
    ("Commands and more", COMMANDS),
)

PAGE = ROOT / "docs/features.md"

if __name__ == "__main__":
    PAGE.write_text(document(CHAPTERS))
