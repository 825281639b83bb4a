"""Drawing of a conversation on Discord."""

import html
from collections.abc import Iterator, Sequence
from typing import Any

from tests.gallery import frame
from tests.gallery.markup import Names, discord_markdown
from tests.servers.discord.service import Channel, Discord, Interaction, Message

Json = Any

_STYLES = {1: "primary", 2: "", 3: "success", 4: "danger"}
_TAG = "<span class=tag>APP</span>"


class DiscordDrawing:
    """Picture of one conversation, from what the server received."""

    def __init__(self, discord: Discord) -> None:
        self._discord = discord
        users = (discord.alice, discord.bob, discord.bot)
        self._names: Names = {str(each.id): each.name.title() for each in users}

    def conversation(self, channel: Channel, root: Message, opened: Sequence[Interaction] = ()) -> str:
        """Return a message with its thread, and what interactions have shown."""
        name = "Direct message" if channel.guild is None else f"# {(channel.parent or channel).name}"
        parts = [frame.rule(name)]
        for each in self._discord.messages(channel):
            if each.id >= root.id:
                parts += self._with_thread(each, opened)
        for interaction in opened:
            own = [shown for shown in interaction.messages if shown.ephemeral and shown.channel is channel]
            parts += [self._private(interaction, shown) for shown in own]
        parts += [self._form(each.modal) for each in opened[-1:] if each.modal]
        return frame.page("discord", parts)

    def _with_thread(self, root: Message, opened: Sequence[Interaction]) -> Iterator[str]:
        yield self._message(root)
        if root.thread is None:
            return
        yield frame.rule(f"Thread: {root.thread.name}")
        shown = [(each.id, self._message(each)) for each in self._discord.messages(root.thread)]
        for each in opened:
            own = [answer for answer in each.messages if answer.ephemeral and answer.channel is root.thread]
            shown += [(answer.id, self._private(each, answer)) for answer in own]
        yield from (drawn for _, drawn in sorted(shown))

    def _message(self, message: Message) -> str:
        files = [frame.file(each.name, each.media_type, each.data) for each in message.attachments]
        is_layout = any(each["type"] in (10, 17) for each in message.components)
        text = "" if is_layout else discord_markdown(message.content, self._names)
        edited = " <span class=time>(edited)</span>" if message.edited_at and not message.author.bot else ""
        body = "".join([text, edited, *files, *map(self._component, message.components)])
        tag = _TAG if message.author.bot else ""
        return frame.message(message.author.name.title(), "10:42", body, tag=tag)

    def _private(self, interaction: Interaction, message: Message) -> str:
        is_layout = any(each["type"] in (10, 17) for each in message.components)
        text = "" if is_layout else discord_markdown(message.content, self._names)
        body = text + "".join(map(self._component, message.components))
        note = f"Only {interaction.user.name.title()} can see this"
        return frame.message("Agent", "10:42", body, tag=_TAG, note=note)

    def _form(self, modal: Json) -> str:
        fields = "".join(map(self._component, modal["components"]))
        shown = frame.buttons([("Cancel", ""), ("Submit", "primary")])
        return f"<div class=box><div class=title>{html.escape(modal['title'])}</div>{fields}{shown}</div>"

    def _component(self, part: Json) -> str:
        inner = "".join(map(self._component, part.get("components") or []))
        match part["type"]:
            case 1:
                return f"<div class=buttons>{inner}</div>"
            case 2:
                emoji = (part.get("emoji") or {}).get("name") or ""
                label = html.escape(f"{emoji} {part.get('label') or ''}".strip())
                return f'<span class="{_STYLES.get(part["style"], "")}">{label}</span>'
            case 3:
                return f"<span>{html.escape(part.get('placeholder') or '…')} ▾</span>"
            case 4:
                value = html.escape(part.get("value") or part.get("placeholder") or "")
                return f"<b>{html.escape(part.get('label') or '')}</b><div class=field>{value}</div>"
            case 9:
                return inner
            case 10:
                return discord_markdown(part["content"], self._names)
            case 14:
                return "<hr>" if part.get("divider", True) else "<br>"
            case 17:
                colour = f"#{part['accent_color']:06x}" if part.get("accent_color") else "#4e5058"
                return f'<div class=box style="border-left-color:{colour}">{inner}</div>'
            case 18:
                field = self._component(part["component"] | {"label": ""})
                return f"<b>{html.escape(part['label'])}</b>{field}"
            case _:
                return inner
