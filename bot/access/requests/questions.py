"""Rules of questions to users: the expiry, and the users who can answer."""

import time
from dataclasses import dataclass, replace

from bot.access.requests.record import RequestRecord, askers_of
from bot.chat import Admission, Admit, Inquiry, Message, Question, Refuse, Stop, Turn, is_hook
from bot.chat.text import one_line
from bot.commands import question_texts
from bot.commands.decisions import Chooser

_MOST_ANSWER = 500
"""Most characters of an answer in words that are stored with its question; the model receives the message."""

_CLOCKS_SECONDS = 60.0
"""Largest expected difference between a platform's clock and the bot's."""


@dataclass(frozen=True, slots=True)
class QuestionRules:
    """Rules from the settings: a question expires after `hours`.

    `admission` decides about users who press a button, as about those who write.
    """

    hours: float
    admission: Admission

    def request(self, turn: Turn, inquiry: Inquiry, before: RequestRecord | None) -> Question:
        """Return the question of a call; `before` is the request whose decision began the turn."""
        now, askers = time.time(), askers_of(turn)
        return Question(
            id=inquiry.id,
            text=inquiry.text,
            options=inquiry.options,
            respondents=askers,
            anyone=inquiry.anyone or any(map(is_hook, askers)),  # a hook answers nothing
            asked_at=now,
            expires_at=now + self.hours * 3600,
            asked_in=turn.id,
            names={**(before.request.names if before else {}), **turn.names},
        )

    async def refusal(
        self, record: RequestRecord, question: Question, by: Chooser, *, in_words: bool
    ) -> str | None:
        """Return why this user cannot answer by a button, or in words in a form, or None.

        The agent goes on with the rights of those who asked it: words of others are a message of their own.
        """
        if by.author not in question.respondents:
            if not question.anyone:
                return question_texts.refusal(question)
            if in_words:
                return question_texts.WRITE_A_MESSAGE
            if by.is_external:
                return question_texts.NOT_FOR_EXTERNAL
        match await self.admission.check(_as_message(record, by)):
            case Admit():
                return None
            case Refuse(sentence):
                return sentence
            case _:
                return question_texts.refusal(question)

    def answered(self, question: Question, turn: Turn) -> Question | None:
        """Return the question with the answer that a user has written in a turn, or None if nobody has.

        Messages from before the question, and new wordings of answered ones, are no answers.
        """
        for message in turn.messages:
            is_for_them = message.author in question.respondents or (question.anyone and not message.bot_ids)
            if message.corrects or message.sent_at < question.asked_at or not is_for_them:
                continue
            answer = one_line(message.text, _MOST_ANSWER) or question_texts.WITHOUT_TEXT
            names = {**question.names, **turn.names}
            return replace(question, state="answered", by=message.author, answer=answer, names=names)
        return None

    def can_stop(self, stop: Stop, record: RequestRecord) -> bool:
        """Return whether a request is a question that was asked before a stop."""
        if not isinstance(record.request, Question):
            return False
        return not stop.at or record.request.asked_at < stop.at + _CLOCKS_SECONDS


def _as_message(record: RequestRecord, by: Chooser) -> Message:
    """Return a press as a message in the place of the question, as far as access control is concerned."""
    return Message(
        id=f"choice:{record.request.id}",
        thread=record.thread,
        author=by.author,
        text="",
        sent_at=time.time(),
        addressed=True,
        direct=record.direct,
        channel=record.channel,
        parent=record.parent,
        is_private_thread=record.is_private_thread,
        place=record.place,
        roles=by.roles,
        is_guest=by.is_external,
    )
