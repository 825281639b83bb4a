"""Events for the inbox, as hypothesis draws them: few people, two threads, all kinds."""

from hypothesis import strategies as st

from bot.chat import Correction, Decision, Message, Purpose, Stop, ThreadId, Withdrawal

NOW = 4_000_000_000.0  # in the future: an edit is never too old
AUTHORS = ("test:ada", "test:bob")
ADMIN = "test:eve"
THREADS = tuple(ThreadId("test", "space", "channel", name) for name in ("t1", "t2"))


def a_message(
    thread: ThreadId, number: int, addressed: bool, wording: str = "", purpose: Purpose = ""
) -> Message:
    """Return message `number` of a thread."""
    return Message(
        id=f"{thread.thread}-{number}",
        thread=thread,
        author=AUTHORS[number % len(AUTHORS)],
        text=wording or f"message {number}",
        sent_at=NOW + number,
        addressed=addressed,
        purpose=purpose,
    )


def an_edit(thread: ThreadId, number: int, addressed: bool, at: int) -> Correction:
    """Return an edit of message `number` of a thread."""
    return Correction(message=a_message(thread, number, addressed, f"edit {at}"), edited_at=float(at))


def a_decision(thread: ThreadId, number: int) -> Decision:
    """Return a decision on request `number` of a thread."""
    return Decision(
        request=f"{thread.thread}-{number}",
        verdict="approved",
        at=NOW + number,
        thread=thread,
        asker=AUTHORS[0],
        summary="Change the database: DELETE …",
        place={},
        by=AUTHORS[number % len(AUTHORS)],
    )


NUMBERS = range(5)
ADDRESSED = st.sampled_from((False, False, True))  # so that some come before the bot takes part
ID = st.sampled_from([f"{thread.thread}-{number}" for thread in THREADS for number in NUMBERS])
THREAD, NUMBER, AUTHOR = st.sampled_from(THREADS), st.sampled_from(NUMBERS), st.sampled_from(AUTHORS)
PURPOSE = st.sampled_from(("", "", "", "aside", "command", "quiet"))
MESSAGE = st.builds(a_message, THREAD, NUMBER, ADDRESSED, purpose=PURPOSE)
EDIT = st.builds(an_edit, THREAD, NUMBER, ADDRESSED, st.integers(1, 3))
DECISION = st.builds(a_decision, THREAD, NUMBER)
DELETION = st.builds(Withdrawal, message_id=ID)
STOP = st.one_of(
    st.builds(Stop, by=st.sampled_from((*AUTHORS, ADMIN, "test:mallory")), thread=THREAD),
    st.builds(Stop, by=st.sampled_from((*AUTHORS, ADMIN)), message_id=ID),
    st.builds(Stop, by=AUTHOR, channel=st.just("channel")),
)
