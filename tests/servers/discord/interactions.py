"""Interactions: commands, buttons and forms, from the click to the visible answer.

https://discord.com/developers/docs/interactions/receiving-and-responding
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from tests.servers.discord import layouts as layouts
from tests.servers.discord import payloads as payloads
from tests.servers.discord.api import Reply, Request, Route
from tests.servers.discord.drafts import SENDABLE_FLAGS, apply_edit, read_draft
from tests.servers.discord.gateway import Connection
from tests.servers.discord.records import (
    FILE_LIMIT,
    PERMISSIONS,
    Channel,
    Draft,
    Event,
    Intent,
    Json,
    Message,
    MessageFlag,
    MessageType,
    User,
)
from tests.servers.discord.rules import (
    Refusal,
    form_error,
    length,
    unknown,
)
from tests.servers.discord.world import World


class Kind(IntEnum):
    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL = 5


class Callback(IntEnum):
    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE = 7
    CHOICES = 8
    MODAL = 9


ANSWERS = {
    Kind.COMMAND: {Callback.MESSAGE, Callback.DEFERRED_MESSAGE, Callback.MODAL},
    Kind.COMPONENT: set(Callback) - {Callback.CHOICES},
    Kind.AUTOCOMPLETE: {Callback.CHOICES},
    Kind.MODAL: set(Callback) - {Callback.CHOICES, Callback.MODAL},
}
FLAGS = SENDABLE_FLAGS | MessageFlag.EPHEMERAL
MOST_FOLLOW_UPS = 5
"""Most follow-ups of an app that only its user has installed."""


@dataclass(eq=False)
class Interaction:
    """One use of a command, a button or a form, and the answers that its user saw.

    `messages` are these answers, ephemeral or not, the first one (`original`) before the follow-ups; `modal`
    is the opened form, `choices` are those of autocomplete.
    """

    id: int
    token: str
    kind: Kind
    user: User
    channel: Channel
    name: str
    source: Message | None = None
    at: float = field(default_factory=time.monotonic)
    answered: Callback | None = None
    answered_at: float | None = None
    original: Message | None = None
    follow_ups: list[Message] = field(default_factory=list)
    choices: list[Json] = field(default_factory=list)
    modal: Json = None
    sent: int = 0
    """Follow-ups so far, with the one that takes the place of "is thinking …"."""

    @property
    def messages(self) -> list[Message]:
        everything = [self.original] if self.original else []
        everything += self.follow_ups
        return [each for each in everything if each.deleted_at is None and not each.loading]

    @property
    def content(self) -> str:
        """Return the text of the first visible answer."""
        return self.messages[0].content if self.messages else ""

    @property
    def ephemeral(self) -> bool:
        """Return True if only this user sees the first answer."""
        return self.original is not None and self.original.ephemeral

    @property
    def is_visible(self) -> bool:
        """Return True if the user sees the outcome, not only that the bot is thinking."""
        if self.answered in (Callback.MESSAGE, Callback.DEFERRED_MESSAGE):
            return bool(self.messages) or (self.original is not None and self.original.deleted_at is not None)
        return self.answered is not None


class Interactions:
    """Interactions and their answers; `deadline` and `lifetime` are in seconds."""

    def __init__(self, world: World, tell: Callable[[Event], list[Connection]]) -> None:
        self._world = world
        self._tell = tell
        self.deadline = 3.0
        self.lifetime = 15 * 60.0
        self._by_token: dict[str, Interaction] = {}

    @property
    def sent(self) -> list[Interaction]:
        """Return all interactions, oldest first."""
        return list(self._by_token.values())

    def routes(self) -> list[Route]:
        hook = "/webhooks/{application}/{token}"
        one = hook + "/messages/{message}"
        return [
            Route("POST", "/interactions/{id}/{token}/callback", self._callback, "callback", "token", True),
            Route("POST", hook, self._follow_up, "webhook", "token", True),
            Route("GET", one, self._get, "webhook-get", "token", True),
            Route("PATCH", one, self._edit, "webhook-edit", "token", True),
            Route("DELETE", one, self._delete, "webhook-delete", "token", True),
        ]

    # --- from the person to the bot

    def send(
        self,
        kind: Kind,
        user: User,
        channel: Channel,
        data: Json,
        *,
        source: Message | None = None,
    ) -> tuple[Interaction, list[Connection]]:
        """Start an interaction; return it with the connections that received it."""
        name = data.get("name") or data["custom_id"]
        id = self._world.snowflake()
        interaction = Interaction(id, secrets.token_hex(16), kind, user, channel, name, source)
        self._by_token[interaction.token] = interaction
        event = Event("INTERACTION_CREATE", self._payload(interaction, data), Intent.ANY, channel.guild)
        return interaction, self._tell(event)

    def _payload(self, interaction: Interaction, data: Json) -> Json:
        channel, user = interaction.channel, interaction.user
        permissions = payloads.ALL_PERMISSIONS if user.administrator else payloads.MEMBER_PERMISSIONS
        payload = {
            "id": str(interaction.id),
            "application_id": str(self._world.bot.id),
            "type": int(interaction.kind),
            "token": interaction.token,
            "version": 1,
            "data": data,
            "channel_id": str(channel.id),
            "channel": payloads.any_channel(channel, self._world.bot) | {"permissions": str(permissions)},
            "app_permissions": str(sum(bit for name, bit in PERMISSIONS.items() if channel.permits(name))),
            "locale": user.locale,
            "entitlements": [],
            "attachment_size_limit": FILE_LIMIT,
        }
        if interaction.source:
            payload["message"] = payloads.message(interaction.source)
        own = {"1": str(user.id)}
        if channel.guild is None:
            return payload | {
                "context": 2 if channel.is_foreign else 1,
                "user": payloads.user(user),
                "authorizing_integration_owners": own if channel.is_foreign else own | {"0": "0"},
            }
        guild = str(channel.guild.id)
        return payload | {
            "context": 0,
            "guild_id": guild,
            "guild": {"id": guild, "locale": channel.guild.locale, "features": []},
            "guild_locale": channel.guild.locale,
            "member": payloads.member(user) | {"permissions": str(permissions)},
            "authorizing_integration_owners": own if channel.is_foreign else {"0": guild},
        }

    # --- from the bot to the person

    async def _callback(self, request: Request) -> Reply:
        interaction = self._by_token.get(request.path["token"])
        if interaction is None or interaction.id != request.id("id"):
            raise unknown("interaction", 10062)
        if interaction.answered:
            raise Refusal(400, 40060, "Interaction has already been acknowledged.", blame=True)
        if time.monotonic() - interaction.at > self.deadline:
            raise Refusal(404, 10062, "Unknown interaction", blame=True)
        body = request.body or {}
        if body.get("type") not in ANSWERS[interaction.kind]:
            raise form_error("type", "BASE_TYPE_CHOICES", f"No answer to {interaction.kind.name}.")
        self._apply(interaction, Callback(body["type"]), body.get("data") or {}, request)
        if request.query.get("with_response") in ("1", "true"):
            return Reply(self._callback_response(interaction))
        return Reply()

    def _apply(self, interaction: Interaction, callback: Callback, data: Json, request: Request) -> None:
        match callback:
            case Callback.MESSAGE:
                interaction.original = self._post(interaction, read_draft(data, request.files, FLAGS))
            case Callback.DEFERRED_MESSAGE:
                flags = MessageFlag(data.get("flags") or 0) & MessageFlag.EPHEMERAL
                interaction.original = self._post(interaction, Draft(flags=flags | MessageFlag.LOADING))
            case Callback.UPDATE if interaction.source:
                interaction.original = apply_edit(self._world, interaction.source, data, request.files)
            case Callback.UPDATE | Callback.DEFERRED_UPDATE:
                interaction.original = interaction.source
            case Callback.CHOICES:
                interaction.choices = _choices(data)
            case Callback.MODAL:
                interaction.modal = _modal(data)
        interaction.answered = callback
        interaction.answered_at = time.monotonic()

    def _post(self, interaction: Interaction, draft: Draft, reference: Message | None = None) -> Message:
        first = interaction.kind is Kind.COMMAND and reference is None
        metadata = {
            "id": str(interaction.id),
            "type": int(interaction.kind),
            "user": payloads.user(interaction.user),
            "authorizing_integration_owners": {},
        }
        return self._world.post(
            interaction.channel,
            self._world.bot,
            draft,
            type=MessageType.CHAT_INPUT_COMMAND if first else MessageType.DEFAULT,
            reference=reference or interaction.source,
            interaction=metadata,
        )

    def _callback_response(self, interaction: Interaction) -> Json:
        about: dict[str, Json] = {"id": str(interaction.id), "type": int(interaction.kind)}
        response: dict[str, Json] = {"interaction": about}
        original = interaction.original
        if original:
            about["response_message_id"] = str(original.id)
            about["response_message_loading"] = original.loading
            about["response_message_ephemeral"] = original.ephemeral
        if (
            interaction.answered in (Callback.MESSAGE, Callback.DEFERRED_MESSAGE, Callback.UPDATE)
            and original
        ):
            shown = payloads.message(original)
            response["resource"] = {"type": int(interaction.answered), "message": shown}
        return response

    async def _follow_up(self, request: Request) -> Reply:
        interaction = self._by_hook(request)
        draft = read_draft(request.body or {}, request.files, FLAGS)
        interaction.sent += 1
        if interaction.channel.is_foreign and interaction.sent > MOST_FOLLOW_UPS:
            text = "This interaction has reached its maximum number of follow-up messages"
            raise Refusal(400, 40094, text, blame=True)
        original = interaction.original
        if original and original.loading and interaction.answered is Callback.DEFERRED_MESSAGE:
            # the first follow-up takes the place of "is thinking ...", and is as visible as that was
            return Reply(payloads.message(self._fill(original, draft)))
        message = self._post(interaction, draft, reference=original)
        interaction.follow_ups.append(message)
        return Reply(payloads.message(message))

    def _fill(self, original: Message, draft: Draft) -> Message:
        return self._world.edit(
            original,
            content=draft.content,
            embeds=draft.embeds,
            components=draft.components,
            files=draft.files,
            flags=original.flags | (draft.flags & SENDABLE_FLAGS),
            mentions=draft.mentions,
        )

    async def _get(self, request: Request) -> Reply:
        return Reply(payloads.message(self._message(request)))

    async def _edit(self, request: Request) -> Reply:
        message = self._message(request)
        return Reply(payloads.message(apply_edit(self._world, message, request.body or {}, request.files)))

    async def _delete(self, request: Request) -> Reply:
        self._world.delete(self._message(request))
        return Reply()

    def _by_hook(self, request: Request) -> Interaction:
        """Return the answered interaction of a webhook request, within its lifetime."""
        interaction = self._by_token.get(request.path["token"])
        if interaction is None or request.id("application") != self._world.bot.id:
            raise Refusal(404, 10015, "Unknown Webhook", blame=True)
        if interaction.answered is None:
            raise Refusal(404, 10015, "Unknown Webhook", blame=True)
        if time.monotonic() - interaction.at > self.lifetime:
            raise Refusal(401, 50027, "Invalid Webhook Token", blame=True)
        return interaction

    def _message(self, request: Request) -> Message:
        interaction = self._by_hook(request)
        if request.path["message"] == "@original":
            message = interaction.original
        else:
            mine = [interaction.original, *interaction.follow_ups]
            message = next((each for each in mine if each and each.id == request.id("message")), None)
        if message is None or message.deleted_at is not None:
            raise unknown("Message", 10008)
        return message


def _choices(data: Json) -> list[Json]:
    choices = data.get("choices") or []
    if len(choices) > 25:
        raise form_error("data.choices", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    for number, choice in enumerate(choices):
        length(choice.get("name"), f"data.choices.{number}.name", 1, 100)
    return list(choices)


def _modal(data: Json) -> Json:
    length(data.get("title"), "data.title", 1, 45)
    length(data.get("custom_id"), "data.custom_id", 1, 100)
    layouts.check_form(data.get("components") or [])
    return data
