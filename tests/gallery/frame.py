"""Frame of a picture: one conversation as a page of HTML, in the look of each service."""

import base64
from collections.abc import Iterable
from html import escape

_COLOURS = {"Alice": "#7a5af5", "Bob": "#e8912d", "Agent": "#0b7285"}

_COMMON = """
* { box-sizing: border-box }
body { margin: 0; padding: 14px 18px; width: 640px; font: 14px/1.45 "DejaVu Sans", sans-serif }
.message { display: flex; gap: 10px; margin: 9px 0 }
.face { flex: none; width: 34px; height: 34px; color: #fff; text-align: center;
font: 600 17px/34px sans-serif } .body { min-width: 0; flex: 1 } .head b { margin-right: 6px }
.time { font-size: 11px; opacity: .65 } p { margin: 2px 0 } ul, ol { margin: 2px 0; padding-left: 22px }
h1, h2, h3 { margin: 6px 0 2px; font-size: 16px }
pre { margin: 4px 0; padding: 8px; border-radius: 4px; font: 12px/1.4 "DejaVu Sans Mono";
white-space: pre-wrap; overflow-wrap: anywhere }
code { font: 12px "DejaVu Sans Mono"; padding: 1px 3px; border-radius: 3px }
pre code { padding: 0; border: 0 !important; background: none !important; color: inherit !important }
blockquote { margin: 3px 0; padding-left: 10px } small { display: block; font-size: 11.5px; opacity: .75 }
table { border-collapse: collapse; margin: 4px 0; font-size: 13px }
th, td { padding: 4px 10px; text-align: left } td.number, th.number { text-align: right }
.buttons { display: flex; flex-wrap: wrap; gap: 6px; margin: 6px 0 2px }
.buttons span { padding: 4px 11px; border-radius: 5px; font-size: 13px; font-weight: 600 }
.rule { display: flex; align-items: center; gap: 8px; font-size: 12px; opacity: .8; margin: 6px 0 }
.rule::after { content: ""; flex: 1; border-top: 1px solid }
img { max-width: 420px; border-radius: 6px; display: block }
.file { display: inline-flex; gap: 8px; padding: 8px 12px; border-radius: 6px; margin: 4px 0;
font-size: 13px } .private { font-size: 11.5px; opacity: .75 }
.box { border-radius: 8px; padding: 12px 16px; margin: 10px 0 }
.field { padding: 7px 10px; border-radius: 5px; margin: 3px 0 9px; min-height: 34px }
hr { border: 0; border-top: 1px solid } .title { font-weight: 700 }
.context { font-size: 12px; opacity: .75 }
"""
_SLACK = """
body { background: #fff; color: #1d1c1d } .face { border-radius: 8px }
.mention { background: #e8f5fa; color: #1264a3; border-radius: 3px; padding: 0 2px } a { color: #1264a3 }
code { border: 1px solid #ddd; background: #f8f8f8; color: #c01343 }
pre { border: 1px solid #ddd; background: #f8f8f8 } blockquote { border-left: 4px solid #ddd }
hr, .rule::after { border-color: #ddd } table, th, td { border: 1px solid #ddd } th { background: #f8f8f8 }
.buttons span { border: 1px solid #bbb; background: #fff }
.buttons .primary { background: #007a5a; color: #fff; border-color: #007a5a }
.buttons .danger { background: #e01e5a; color: #fff; border-color: #e01e5a }
.file, .box, .field, .task { border: 1px solid #ddd }
.task { border-radius: 8px; padding: 6px 10px; margin: 4px 0; font-size: 13px }
.task div { font-size: 12px; opacity: .75 } .only { background: #f8f6ee }
"""
_DISCORD = """
body { background: #313338; color: #dbdee1 } .face { border-radius: 50% } .head b { color: #f2f3f5 }
.mention { background: #3c4270; color: #c9cdfb; border-radius: 3px; padding: 0 2px } a { color: #00a8fc }
code, pre { background: #1e1f22 } pre { border: 1px solid #1e1f22 }
blockquote { border-left: 4px solid #4e5058 } hr, .rule::after { border-color: #4e5058 }
.buttons span { background: #4e5058; color: #fff } .buttons .primary { background: #5865f2 }
.buttons .success { background: #248046 } .buttons .danger { background: #da373c }
.file, .box { background: #2b2d31; border: 1px solid #1e1f22 } .box { border-left-width: 4px }
.field { background: #1e1f22 }
.tag { background: #5865f2; color: #fff; font-size: 10px; border-radius: 3px; padding: 1px 4px;
margin-right: 6px } .reply { font-size: 12px; opacity: .8; margin-left: 44px }
"""


def page(style: str, content: Iterable[str]) -> str:
    """Return a whole page; `style` is `slack` or `discord`."""
    css = _COMMON + (_DISCORD if style == "discord" else _SLACK)
    return f"<!doctype html><meta charset=utf-8><style>{css}</style>{''.join(content)}"


def message(name: str, time: str, body: str, *, tag: str = "", note: str = "") -> str:
    """Return a message; `tag` marks an app, `note` is above a message that one user sees."""
    colour = _COLOURS.get(name, "#555")
    face = f'<div class=face style="background:{colour}">{"✦" if name == "Agent" else escape(name[:1])}</div>'
    head = f"<div class=head><b>{escape(name)}</b>{tag}<span class=time>{time}</span></div>"
    above = f"<div class=private>👁 {escape(note)}</div>" if note else ""
    only = " only" if note else ""
    return f'<div class="message{only}">{face}<div class=body>{above}{head}{body}</div></div>'


def rule(text: str) -> str:
    """Return a line across the conversation with a text."""
    return f"<div class=rule>{escape(text)}</div>"


def buttons(labels: Iterable[tuple[str, str]]) -> str:
    """Return a row of buttons: label and style."""
    return (
        "<div class=buttons>"
        + "".join(f'<span class="{style}">{escape(label)}</span>' for label, style in labels)
        + "</div>"
    )


def file(name: str, kind: str, data: bytes) -> str:
    """Return a picture, or the card of another file."""
    if kind.startswith("image/"):
        return f'<img src="data:{kind};base64,{base64.b64encode(data).decode()}">'
    return f"<div><div class=file>📄 <b>{escape(name)}</b> {len(data):,} bytes</div></div>"
