"""Helpers for tests of files: a small picture, a PDF, and a turn whose receipt survives its attempts."""

import base64
import io
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from pypdf import PdfWriter

from bot.chat import File, Json, Message, Part, Platform, Receipt, ThreadId, Turn
from tests.support.replies import run_reply

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@dataclass
class QuestionRun:
    """One question, answered as by the inbox: each attempt gets the receipt of the last one."""

    platform: Platform
    thread: ThreadId
    channel: str
    place: Mapping[str, str]
    parent: str = ""
    id: str = "question"
    state: dict[str, Json] = field(default_factory=dict)

    @property
    def turn(self) -> Turn:
        message = Message(
            id=self.id,
            thread=self.thread,
            author="test:ada",
            text="draw it",
            sent_at=time.time(),
            addressed=True,
            direct=self.thread.space == "dm",
            channel=self.channel,
            parent=self.parent,
            place=self.place,
        )
        return Turn(id=self.id, thread=self.thread, messages=(message,))

    async def answer(self, *parts: Part) -> None:
        """Run one attempt."""

        async def keep(state: Mapping[str, Json]) -> None:
            self.state = dict(state)

        async def all_parts() -> AsyncIterator[Part]:
            for part in parts:
                yield part

        receipt = Receipt(self.turn, keep, dict(self.state))
        await run_reply(self.platform.thread(self.thread), all_parts(), receipt)


def pdf(*pages: str, password: str = "") -> bytes:
    """A PDF with a line of text on each page, written by hand: pypdf writes no text."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>")
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, text in enumerate(pages):
        font = "/Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R {font} /Contents {5 + 2 * number} 0 R >>")
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    body, offsets = "%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{each}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    content = (body + head + trailer).encode()
    if password:
        writer = PdfWriter(clone_from=io.BytesIO(content))
        writer.encrypt(password, algorithm="RC4-128")
        written = io.BytesIO()
        writer.write(written)
        return written.getvalue()
    return content


def expired_file(name: str = "gone.png") -> File:
    """Return a file that has expired in the store."""
    return File(id="0" * 32, name=name, media_type="image/png", size=1)
