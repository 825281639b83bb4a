"""Text of a chat service as HTML: Markdown of both services, and Slack's mrkdwn."""

import html
import re
from collections.abc import Callable, Mapping
from typing import Any

from markdown_it import MarkdownIt

Json = Any

Names = Mapping[str, str]
"""Display names by the id of a user."""

_MENTION = re.compile(r"&lt;@!?(\w+)&gt;")
_MRKDWN = re.compile(
    r"```(?P<block>.*?)```|`(?P<code>[^`\n]+)`|<(?P<url>https?://[^|>]+)(?:\|(?P<label>[^>]*))?>"
    r"|(?<!\w)\*(?P<bold>[^*\n]+)\*(?!\w)|(?<!\w)_(?P<italic>[^_\n]+)_(?!\w)|<@(?P<user>\w+)>",
    re.DOTALL,
)
_EMOJI = {":lock_with_ink_pen:": "🔏", ":white_check_mark:": "✅", ":no_entry:": "⛔"}

_SLACK = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
_DISCORD = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("strikethrough")


def slack_markdown(text: str, names: Names) -> str:
    """Return Markdown as Slack shows that of an app."""
    return _with_names(_SLACK.render(html.unescape(text)), names)


def discord_markdown(text: str, names: Names) -> str:
    """Return Markdown as Discord shows it, with the small lines of `-#`."""
    parts: list[str] = []
    lines: list[str] = []
    is_code = False
    for line in text.splitlines():
        is_code ^= line.lstrip().startswith("```")
        if line.startswith("-# ") and not is_code:
            parts += [_DISCORD.render("\n".join(lines)), f"<small>{_DISCORD.renderInline(line[3:])}</small>"]
            lines = []
        else:
            lines.append(line)
    return _with_names("".join([*parts, _DISCORD.render("\n".join(lines))]), names)


def mrkdwn(text: str, names: Names) -> str:
    """Return mrkdwn as HTML."""
    for name, sign in _EMOJI.items():
        text = text.replace(name, sign)
    parts, end = [], 0
    for match in _MRKDWN.finditer(text):
        parts += [_plain(text[end : match.start()]), _element(match, names)]
        end = match.end()
    return "".join([*parts, _plain(text[end:])])


def _element(match: "re.Match[str]", names: Names) -> str:
    forms: Mapping[str, Callable[[str], str]] = {
        "block": lambda found: f"<pre>{_plain(found.strip())}</pre>",
        "code": lambda found: f"<code>{_plain(found)}</code>",
        "bold": lambda found: f"<b>{mrkdwn(found, names)}</b>",
        "italic": lambda found: f"<i>{mrkdwn(found, names)}</i>",
        "user": lambda found: f"<span class=mention>@{_plain(names.get(found, found))}</span>",
        "url": lambda found: f"<a>{_plain(match['label'] or found)}</a>",
    }
    name = next(each for each in forms if match[each] is not None)
    return forms[name](match[name])


_RICH = {
    "rich_text_section": "p",
    "rich_text_preformatted": "pre",
    "rich_text_quote": "blockquote",
    "rich_text_list": "ul",
}
_STYLES = {"bold": "b", "italic": "i", "code": "code", "strike": "s"}


def rich_text(element: Json, names: Names) -> str:
    """Return a part of a block with rich text as HTML."""
    tag = _RICH[element["type"]]
    if tag == "ul":
        return f"<ul>{''.join(f'<li>{rich_text(each, names)}</li>' for each in element['elements'])}</ul>"
    return f"<{tag}>{''.join(_rich_piece(each, names) for each in element['elements'])}</{tag}>"


def _rich_piece(piece: Json, names: Names) -> str:
    match piece["type"]:
        case "user":
            shown = f"<span class=mention>@{html.escape(names.get(piece['user_id'], ''))}</span>"
        case "link":
            shown = f"<a>{html.escape(piece.get('text') or piece['url'])}</a>"
        case _:
            shown = html.escape(piece.get("text", "")).replace("\n", "<br>")
    for name, tag in _STYLES.items():
        if piece.get("style", {}).get(name):
            shown = f"<{tag}>{shown}</{tag}>"
    return shown


def _plain(text: str) -> str:
    return html.escape(html.unescape(text), quote=False).replace("\n", "<br>")


def _with_names(page: str, names: Names) -> str:
    def name_of(match: "re.Match[str]") -> str:
        return f"<span class=mention>@{html.escape(names.get(match[1], match[1]))}</span>"

    return _MENTION.sub(name_of, page)
