"""Filter for reasoning in the text of an answer: `<think>…</think>` is hidden, however the stream is cut.

Services should send reasoning in a separate field. Many do not, and some templates open the tag themselves,
so that an answer holds only its end.
"""

import re

_NAMES = ("think", "thinking", "thought", "reasoning", "mm:think", "seed:think")
_OPEN = (*(f"<{name}>" for name in _NAMES), "[think]")
_CLOSE = (*(f"</{name}>" for name in _NAMES), "[/think]")
_TAGS = _OPEN + _CLOSE
_LONGEST = max(map(len, _TAGS))

_TOKEN = re.compile("|".join(["`+", "\n", *map(re.escape, _TAGS)]), re.IGNORECASE)
_CLOSING = re.compile("|".join(map(re.escape, _CLOSE)), re.IGNORECASE)
_SIGN = re.compile(r"[<\[`]")


class ReasoningParser:
    """Incremental splitter of an answer into visible text and reasoning; a tag in code is text.

    `held`: show nothing before the reasoning has ended, for a model whose template opens the tag.
    """

    def __init__(self, *, hold: bool = False) -> None:
        self._held: list[str] | None = [] if hold else None
        self._rest = ""
        self._code = ""
        self._has_said = False
        self._has_given = False
        self._reasoning: list[str] | None = None
        """Current reasoning, if it may turn out to be text."""
        self._is_reasoning = False
        self.any = False
        """True once any reasoning was found."""
        self.is_retracted = False
        """True when the text returned so far has turned out to be reasoning. The caller resets it."""
        self.is_opened_by_template = False
        self.is_off = False
        """True when tags are plain text, because the reasoning comes in a separate field."""

    def feed(self, text: str) -> str:
        """Return the visible part of `text` and of the text held back before it."""
        if self.is_off:
            return text
        is_plain = not (self._rest or self._code or self._is_reasoning or self._held is not None)
        if is_plain and (self._has_said or not self.any) and not _SIGN.search(text):
            self._has_said = self._has_said or not text.isspace()
            self._has_given = self._has_given or bool(text)
            return text
        text = self._rest + text
        cut = len(text) - _pending_length(text)
        text, self._rest = text[:cut], text[cut:]
        said = self._split(text)
        self._has_given = self._has_given or bool(said)
        return said

    def turn_off(self) -> str:
        """Treat tags as text from now on, and return the text held back."""
        said = "" if self.is_off else self.finish()
        self.is_off = True
        return said

    def finish(self) -> str:
        """Return the visible text at the end of the answer: reasoning without an end tag may be text."""
        said = self._split(self._rest)
        self._rest = ""
        if self._reasoning is not None:
            said += "".join(self._reasoning)
            self._reasoning = None
        held, self._held = self._held, None
        return "".join(held or ()) + said

    def _split(self, text: str) -> str:
        texts: list[str] = []
        at = 0
        while at < len(text):
            token = (_CLOSING if self._is_reasoning else _TOKEN).search(text, at)
            end = token.start() if token else len(text)
            self._put(text[at:end], texts)
            if token is None:
                break
            at = token.end()
            self._meet(token[0], texts)
        return "".join(texts)

    def _put(self, text: str, texts: list[str]) -> None:
        if self._is_reasoning:
            if self._reasoning is not None:
                self._reasoning.append(text)
            return
        if not self._has_said:
            text = text.lstrip() if self.any else text
            self._has_said = bool(text) and not text.isspace()
        (texts if self._held is None else self._held).append(text)

    def _meet(self, mark: str, texts: list[str]) -> None:
        tag = mark.lower()
        if self._is_reasoning:
            if self._reasoning is None:
                self._held = None
            self._is_reasoning, self._reasoning, self.any = False, None, True
        elif mark[0] == "`":
            self._code = self._toggle(mark)
            self._put(mark, texts)
        elif mark == "\n":
            self._code = self._code if len(self._code) >= 3 else ""
            self._put(mark, texts)
        elif self._code:
            self._put(mark, texts)
        elif tag in _OPEN:
            # in the middle of an answer it is reasoning only if an end tag follows
            self._reasoning = [mark] if self._has_said else None
            self._is_reasoning = True
            self.any = self.any or self._reasoning is None
        else:
            self._retract(texts)

    def _toggle(self, run: str) -> str:
        if not self._code:
            return run
        return (
            "" if run == self._code or (len(self._code) >= 3 and len(run) >= len(self._code)) else self._code
        )

    def _retract(self, texts: list[str]) -> None:
        """Treat all text before an end tag as reasoning: the template had opened it."""
        self.is_retracted = self.is_retracted or self._has_given
        self._has_given = False
        self.any = self.is_opened_by_template = True
        self._held, self._has_said = None, False
        texts.clear()


def _pending_length(text: str) -> int:
    """Return the length of the end of `text` that may begin a tag or a code fence."""
    fence = len(text) - len(text.rstrip("`"))
    if fence:
        return min(fence, _LONGEST)
    tail = text[-_LONGEST:].lower()
    for at in range(len(tail)):
        if tail[at] in "<[" and any(tag.startswith(tail[at:]) for tag in _TAGS):
            return len(tail) - at
    return 0
