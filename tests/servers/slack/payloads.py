"""Payloads that Slack sends to an app: events, slash commands and interactions."""

import secrets
import time
from typing import Any

from tests.servers.slack.workspace import (
    APP,
    BOT_USER,
    Change,
    Channel,
    Message,
    Workspace,
    message_json,
)

Json = Any

PLURALS = {"channel": "channels", "group": "groups"}
"""Kinds of channels that have another name in scopes and subscriptions."""


def subscription(event: dict[str, Json]) -> str:
    """Return the name under which an app subscribes to an event."""
    kind = event.get("channel_type", "")
    return f"message.{PLURALS.get(kind, kind)}" if event["type"] == "message" else str(event["type"])


def event_callback(
    workspace: Workspace, event: dict[str, Json], *, is_shared: bool = False
) -> dict[str, Json]:
    """Return the outer event of the Events API; each call has a new `event_id`, redeliveries keep it."""
    return {
        "token": "verification-token",
        "team_id": workspace.team,
        "context_team_id": workspace.team,
        "context_enterprise_id": workspace.organisation,
        "api_app_id": APP,
        "event": event,
        "type": "event_callback",
        "event_id": f"Ev{secrets.token_hex(5).upper()}",
        "event_time": int(time.time()),
        "authorizations": [
            {
                "enterprise_id": workspace.organisation,
                "team_id": workspace.team,
                "user_id": BOT_USER,
                "is_bot": True,
                "is_enterprise_install": bool(workspace.organisation),
            }
        ],
        "is_ext_shared_channel": is_shared,
        "event_context": secrets.token_hex(12),
    }


def installed_by(workspace: Workspace) -> dict[str, Json]:
    """Return the fields of an interaction about the installation of an organisation."""
    organisation = workspace.organisation
    enterprise = {"id": organisation, "name": f"Organisation {organisation}"} if organisation else None
    return {"enterprise": enterprise, "is_enterprise_install": bool(organisation)}


def message_events(
    workspace: Workspace, change: Change, message: Message, before: str
) -> list[dict[str, Json]]:
    """Return the inner events of a changed message: a mention in a channel causes two."""
    channel = workspace.channels[message.channel]
    if BOT_USER not in channel.members:
        return []
    if change == "posted":
        return _posted(workspace, channel, message)
    stamp = workspace.new_ts()
    changed = {
        "type": "message",
        "subtype": "message_changed" if change == "changed" else "message_deleted",
        "channel": channel.id,
        "channel_type": channel.kind,
        "hidden": True,
        "ts": stamp,
        "event_ts": stamp,
        "previous_message": message_json(workspace, message) | {"text": before},
    }
    if change == "changed":
        return [changed | {"message": message_json(workspace, message, metadata=True)}]
    return [changed | {"deleted_ts": message.ts}]


def _posted(workspace: Workspace, channel: Channel, message: Message) -> list[dict[str, Json]]:
    body = message_json(workspace, message, metadata=message.from_bot)
    common = body | {"channel": channel.id, "event_ts": message.ts}
    if workspace.has_search:
        common["assistant_thread"] = {"action_token": workspace.new_action_token(message.user)}
    if channel.kind == "im" and message.user in workspace.app_contexts:
        common["app_context"] = workspace.app_contexts[message.user]
    events = [common | {"channel_type": channel.kind}]
    mentioned = f"<@{BOT_USER}>" in message.text
    if mentioned and channel.kind != "im" and not message.from_bot:
        mention = {name: value for name, value in common.items() if name not in ("subtype", "upload")}
        events.insert(0, mention | {"type": "app_mention"})
    return events


def slash_command(
    workspace: Workspace, command: str, text: str, user: str, channel: Channel
) -> dict[str, Json]:
    """Return a slash command; it has no thread, because Slack refuses custom commands there."""
    return {
        "token": "verification-token",
        "team_id": workspace.team,
        "team_domain": "test",
        "channel_id": channel.id,
        "channel_name": "directmessage" if channel.kind == "im" else channel.name,
        "user_id": user,
        "user_name": workspace.users[user],
        "command": command,
        "text": text,
        "api_app_id": APP,
        "is_enterprise_install": "true" if workspace.organisation else "false",
        **({"enterprise_id": workspace.organisation} if workspace.organisation else {}),
        "trigger_id": workspace.new_trigger(user),
    }


def block_actions(
    workspace: Workspace, message: Message, user: str, block_id: str, element: dict[str, Json], value: str
) -> dict[str, Json]:
    """Return the press of a button of a message, or the choice of the option with that value in a select."""
    channel = workspace.channels[message.channel]
    action = {
        "type": element["type"],
        "action_id": element["action_id"],
        "block_id": block_id,
        "action_ts": workspace.new_ts(),
    }
    if element["type"] == "static_select":
        action["selected_option"] = next(each for each in element["options"] if each["value"] == value)
    else:
        action["value"] = value
    container = {"type": "message", "message_ts": message.ts, "channel_id": channel.id, "is_ephemeral": False}
    team = workspace.described.get(user, {}).get("team_id", workspace.team)
    return {
        "type": "block_actions",
        "user": {"id": user, "username": workspace.users[user], "team_id": team},
        "api_app_id": APP,
        "token": "verification-token",
        "container": container | ({"thread_ts": message.thread_ts} if message.thread_ts else {}),
        "trigger_id": workspace.new_trigger(user),
        "team": {"id": workspace.team, "domain": "test"},
        **installed_by(workspace),
        "channel": {"id": channel.id, "name": channel.name or "directmessage"},
        "message": message_json(workspace, message, metadata=True),
        "state": {"values": {}},
        "actions": [action],
    }


def shortcut(workspace: Workspace, callback_id: str, user: str) -> dict[str, Json]:
    """Return the use of a global shortcut, which has no channel and no response_url."""
    return {
        "type": "shortcut",
        "token": "verification-token",
        "action_ts": workspace.new_ts(),
        "team": {"id": workspace.team, "domain": "test"},
        "user": {"id": user, "username": workspace.users[user], "team_id": workspace.team},
        **installed_by(workspace),
        "callback_id": callback_id,
        "trigger_id": workspace.new_trigger(user),
    }


def message_action(workspace: Workspace, callback_id: str, user: str, message: Message) -> dict[str, Json]:
    """Return the use of a shortcut on a message, which has all of it."""
    channel = workspace.channels[message.channel]
    return shortcut(workspace, callback_id, user) | {
        "type": "message_action",
        "message_ts": message.ts,
        "channel": {"id": channel.id, "name": channel.name or "directmessage"},
        "message": message_json(workspace, message),
    }


def home_actions(
    workspace: Workspace,
    view: dict[str, Json],
    user: str,
    block_id: str,
    element: dict[str, Json],
    value: str,
) -> dict[str, Json]:
    """Return the press of a button on the Home tab: it has no message, no channel and no response_url."""
    chosen = {"selected_conversation": value} if element["type"] == "conversations_select" else {}
    action = {
        "type": element["type"],
        "action_id": element["action_id"],
        "block_id": block_id,
        "action_ts": workspace.new_ts(),
        **({"value": element["value"]} if "value" in element else {}),
        **chosen,
    }
    team = workspace.described.get(user, {}).get("team_id", workspace.team)
    return {
        "type": "block_actions",
        "user": {"id": user, "username": workspace.users[user], "team_id": team},
        "api_app_id": APP,
        "token": "verification-token",
        "container": {"type": "view", "view_id": view["id"]},
        "trigger_id": workspace.new_trigger(user),
        "team": {"id": workspace.team, "domain": "test"},
        **installed_by(workspace),
        "view": view,
        "actions": [action],
    }
