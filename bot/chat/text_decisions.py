"""Parser of typed decisions: `approve 7f3a9c21`, `reject 7f3a9c21 why`. Pure."""

import re
import unicodedata
from dataclasses import dataclass, replace

MOST_REASON = 500
"""Most characters of a reason; the rest is cut."""

_BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u2060\ufeff"
_MARKS = "`*_\"'\u00ab\u00bb\u2018\u2019\u201a\u201c\u201d\u201e\u201f\u2039\u203a"
"""Marks that users and programs put around words: code, bold, italics, quotation marks.

Strike-through is not included: text that is crossed out is not meant.
"""

_ENDS = ".!…。｡\uff01\uff0e"
_ASKING = ("question", "grey_question", "interrobang")
_QUESTIONS = (
    *"?\uff1f\u061f\u037e\u055e\u2e2e\u203d\u2047\u2048\u2049\u2753\u2754",
    *map(":{}:".format, _ASKING),
)
_COLONS = (":", "\uff1a")
_DASHES = "-\u2013\u2014"
_WORDS_OF_DOUBT = """
no not never none nothing dont t cannot cant wont wait stop cancel hold undo oops sorry mistake wrong
if unless until till when once after before later tomorrow only but except however though reject instead
nein nicht kein keine nie warte halt stopp falsch wenn falls sofern erst aber ausser nee niet geen wacht
als non pas jamais attends attendez sauf si mais nunca espera salvo pero mai aspetta se ma nao mas nem ikke
нет не если только
"""
_DOUBTS = frozenset(_WORDS_OF_DOUBT.split())
"""Words, without accents, that take an approval back or make it conditional."""

_UNSPACED_DOUBTS = frozenset("不没沒别別勿否")
"""Characters with such a meaning in scripts without blanks between words."""

_ACCENTS = re.compile("[\u0300-\u036f]")
_WORD = re.compile(r"[^\W_]+")
AROUND = _BLANKS + _MARKS
"""Characters allowed around and between the words of a command."""

MOST_BETWEEN = 40
"""Characters allowed between the verb and the id."""

_EMOJI = re.compile(r":[\w+'-]{1,100}:")
"""Emoji as Slack writes it: its colon does not start a reason, and its name is not a word of one."""

_COMMAND = re.compile(
    rf"(?<![^\W_])!?(?P<verb>approve|reject)[{re.escape(AROUND)}]{{1,{MOST_BETWEEN}}}(?P<id>[0-9a-f]{{8}})(?![^\W_])",
    re.IGNORECASE,
)
_BLANK_FOLLOWS = re.compile(rf"[{re.escape(_MARKS)}]{{0,{MOST_BETWEEN}}}[{re.escape(_BLANKS)}]")
"""Required blank: an emoji may be named `approve_7f3a9c21`, which arrives as text."""


@dataclass(frozen=True, slots=True)
class TextDecision:
    """Typed decision; `rest` is the text after the id of the request."""

    approve: bool
    request: str
    rest: str

    @property
    def is_certain(self) -> bool:
        """Return whether the decision is unambiguous, so that it counts."""
        return self._certain_reason() is not None

    @property
    def reason(self) -> str:
        """Return the reason of an unambiguous decision, or an empty string."""
        return self._certain_reason() or ""

    def _certain_reason(self) -> str | None:
        """Return the reason, or None if the decision is ambiguous.

        After `approve` and the id only end punctuation may follow, or a colon and a reason without a
        question, a retraction or a condition. After `reject` any text may follow. A second command makes both
        ambiguous.
        """
        rest = self.rest.strip(AROUND)
        if _COMMAND.search(rest):
            return None
        if not self.approve:
            return _cut(rest.lstrip(AROUND + _ENDS + ",;:\uff1a" + _DASHES))
        if not rest.strip(AROUND + _ENDS):
            return ""
        if not rest.startswith(_COLONS) or _EMOJI.match(rest):
            return None
        reason = rest[1:].strip(AROUND)
        if not reason.strip(AROUND + _ENDS):
            return ""
        if any(each in reason for each in _QUESTIONS) or not any(map(str.isalnum, _EMOJI.sub("", reason))):
            return None
        return None if _is_doubtful(reason) else _cut(reason)

    def strip_confirmation(self, word: str) -> "TextDecision | None":
        """Return the decision without its confirmation word, or None if that word does not come first."""
        rest = self.rest.lstrip(AROUND)
        follows = rest[len(word) : len(word) + 1]
        if not word or not rest.startswith(word) or follows.isalnum():
            return None
        return replace(self, rest=rest[len(word) :])


def parse_decision(text: str) -> TextDecision | None:
    """Return the decision at the beginning of a message, or None."""
    found = _COMMAND.match(text.lstrip(AROUND + ">:,"))
    if found is None or not _BLANK_FOLLOWS.match(found.string, found.end("verb")):
        return None
    approve = found["verb"].lower() == "approve"
    return TextDecision(approve=approve, request=found["id"].lower(), rest=found.string[found.end() :])


def _is_doubtful(reason: str) -> bool:
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", reason).casefold())
    return not (_DOUBTS.isdisjoint(_WORD.findall(plain)) and _UNSPACED_DOUBTS.isdisjoint(plain))


def _cut(reason: str) -> str:
    return reason if len(reason) <= MOST_REASON else reason[: MOST_REASON - 1] + "…"
