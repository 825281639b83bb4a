"""Cards of requests and of private answers, in Discord's components v2. Pure.

Each text is rendered by itself: markup that one leaves open ends with it.
https://docs.discord.com/developers/components/reference
"""

from collections.abc import Iterable, Iterator
from typing import Any

import discord
from discord import ui

from bot.chat import Approval, Question, Request
from bot.commands.approval_texts import IN_REPLY
from bot.discord.api import FileUpload
from bot.discord.request_buttons import button_rows
from bot.discord.request_forms import approval_pieces, question_pieces

MOST_TEXT = 4_000
MOST_COMPONENTS = 40
"""Most characters of all texts of a message, and most components in it, nested ones included."""

_MOST_QUESTION = 2_400
"""Most characters of a question's text in its card: the rest is for names and the answer."""

_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
_MOST_ALT = 1_024

_WAITING = discord.Colour(0xF0B232)
_DONE = discord.Colour(0x23A55A)
_REFUSED = discord.Colour(0xF23F43)
_OVER = discord.Colour(0x80848E)
_COLOURS = {"asked": _WAITING, "approved": _DONE, "answered": _DONE, "rejected": _REFUSED}
"""Colours of a card's edge by the state of its request; other requests are over."""

Piece = ui.Item[Any]


def request_card(request: Request, *, is_reply: bool = False) -> ui.LayoutView:
    """Return the card of a request, with buttons while it waits.

    `is_reply`: only replies to it belong to its conversation.
    """
    return layout([_container(request, IN_REPLY if is_reply or isinstance(request, Approval) else "here")])


def private_card(request: Request) -> ui.Container[Any]:
    """Return a request in a private answer, where nobody can write: it is decided by buttons and forms."""
    return _container(request, "")


def text_card(text: str) -> ui.LayoutView:
    """Return the card of a text whose first line is its title."""
    title, _, rest = text.partition("\n")
    body: list[Piece] = [ui.Separator(), ui.TextDisplay(rest)] if rest else []
    return layout([ui.Container(ui.TextDisplay(title), *body)])


def layout(pieces: Iterable[Piece]) -> ui.LayoutView:
    """Return a message of these components."""
    view = ui.LayoutView(timeout=None)
    for each in pieces:
        view.add_item(each)
    view.stop()  # nothing waits for it: otherwise discord.py would keep every view for ever
    return view


def file_piece(file: FileUpload) -> Piece:
    """Return the component that shows a file, which needs a name that Discord does not change."""
    url = f"attachment://{file.name}"
    if not file.name.lower().endswith(_PICTURES):
        return ui.File(url)
    return ui.MediaGallery(discord.MediaGalleryItem(url, description=file.alt[:_MOST_ALT] or None))


def fits(pieces: Iterable[Piece]) -> bool:
    """Return whether these components fit into one message."""
    everything = [each for piece in pieces for each in _walk(piece)]
    texts = (each.content for each in everything if isinstance(each, ui.TextDisplay))
    # UTF-16 units, the strictest way to count
    return (
        len(everything) <= MOST_COMPONENTS
        and sum(len(each.encode("utf-16-le", "surrogatepass")) // 2 for each in texts) <= MOST_TEXT
    )


def _walk(piece: Piece) -> Iterator[Piece]:
    yield piece
    if isinstance(piece, ui.Container | ui.ActionRow):
        yield from piece.walk_children()


def _container(request: Request, where: str) -> ui.Container[Any]:
    match request:
        case Approval():
            title, text, status = approval_pieces(request, where)
        case Question():
            title, text, status = question_pieces(request, where, _MOST_QUESTION)
    pieces: list[Piece] = [ui.TextDisplay(each) for each in (title, text) if each]
    pieces += [ui.Separator(), ui.TextDisplay(status)]
    if request.state == "asked":
        pieces += [ui.ActionRow(*row) for row in button_rows(request)]
    return ui.Container(*pieces, accent_colour=_COLOURS.get(request.state, _OVER))
