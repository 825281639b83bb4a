"""Manifest of the Slack app, generated from the declarations of commands, events and scopes.

https://docs.slack.dev/reference/app-manifest
"""

import json
import re
from collections.abc import Iterator, Mapping

from bot.slack.scopes import EVENTS, INSTALLATION_EVENTS, OPTIONAL, needed_scopes
from bot.slack.slash_commands import COMMANDS, SHORTCUTS, SlashCommand

PATH = "/slack/events"
"""Path at which the bot takes Slack's requests in HTTP mode."""

INSTALL, REDIRECT = "/slack/install", "/slack/oauth_redirect"
"""Paths at which users install the app in their workspaces."""

_PLAIN = re.compile(r"[A-Za-z/][^\n:#]*")
"""Text that YAML reads as itself."""

_HEAD = """\
# The Slack app of this bot, as `./dev run manifest` prints it: create it at https://api.slack.com/apps with
# "From a manifest". Afterwards """

_ONE = "install it (gives SLACK_BOT_TOKEN), and "
_MANY = """\
set SLACK_CLIENT_ID and SLACK_CLIENT_SECRET from Basic
# Information, activate public distribution under Manage Distribution, and """

_SOCKETS = """\
make an app-level token with the
# scope connections:write under Basic Information (gives SLACK_APP_TOKEN; a manifest cannot hold it).
#
# For HTTP instead of sockets: `./dev run manifest --http https://<your host>`."""

_HTTP = """\
set SLACK_SIGNING_SECRET from Basic
# Information; SLACK_APP_TOKEN stays unset."""

_LOOKS = """\
_metadata:
  major_version: 2
  minor_version: 1
display_information:
  name: Threadmate
  description: Answers questions in channels, threads and direct messages.
  background_color: "#1a1d21"
features:
  agent_view:
    agent_description: Ask me anything, here or with a mention in a channel; I remember the thread.
    suggested_prompts:
      - title: What can you do?
        message: What can you help me with?
  app_home:
    home_tab_enabled: true
    messages_tab_enabled: true # direct messages
    messages_tab_read_only_enabled: false
  bot_user:
    display_name: Threadmate
    always_online: true"""

SCOPE_REASONS: Mapping[str, str] = {
    "app_mentions:read": "event app_mention: be called in a channel",
    "assistant:write": "feature agent_view; suggested prompts",
    "channels:history": "event message.channels: follow a thread in a public channel; read what was missed",
    "channels:read": "find the channels in which something may have been missed",
    "chat:write": 'answer: stream, update, post, "is thinking…"',
    "commands": "shortcuts, " + ", ".join(sorted(each.name for each in COMMANDS)),
    "files:read": "read the files that users attach, also over Slack Connect",
    "files:write": "show charts and exports in the thread; /agent-memory export",
    "groups:history": "event message.groups: the same in a private channel",
    "groups:read": "as channels:read, for private channels",
    "im:history": "event message.im: direct messages",
    "im:read": "as channels:read, for direct messages",
    "im:write": "open a direct message: for that export, for an approval request",
    "mpim:history": "event message.mpim: direct messages of several people",
    "mpim:read": "as channels:read, for direct messages of several people",
    "reactions:read": "event reaction_added: a cross on a question stops its answer",
    "search:read.public": "tool search_messages: Slack's own search, which finds what is in public channels",
    "usergroups:read": "the names of groups that a message mentions",
    "users:read": "the author's name, team, time zone and guest status, which events do not always tell",
}
"""Reason for each scope."""

_EVENT_REASONS: Mapping[str, str] = {
    "agent_session_stopped": "Slack's own stop button",
    "agent_session_title_changed": "a title that a user has given stays",
    "app_context_changed": "the channel that a user has open beside the bot",
    "app_home_opened": "show the Home tab, and suggested prompts in direct messages",
    "app_uninstalled": "what is known of the workspace is removed",
    "team_access_granted": "a workspace of an organisation in which the app is used from now on",
    "team_access_revoked": "as app_uninstalled, for a workspace of an organisation",
    "tokens_revoked": "as app_uninstalled",
    "user_change": "a new name or time zone",
}
_ESCAPED = "names of users and channels arrive as ids"


def manifest(base_url: str = "", install_url: str = "") -> str:
    """Return the manifest as YAML, with a comment for each scope.

    With the address of the bot's web server as `base_url` it is that for HTTP mode, else for Socket Mode; as
    `install_url`, for an app that users install in many workspaces.
    """
    redirect_url = _at(install_url, REDIRECT, INSTALL, REDIRECT)
    return "\n".join(_lines(_at(base_url, PATH, PATH), redirect_url)) + "\n"


def _at(address: str, path: str, *entered: str) -> str:
    """Return the address of a path; the operator may have entered one that ends with a path."""
    base = address.rstrip("/")
    for each in entered:
        base = base.removesuffix(each)
    return f"{base}{path}" if address else ""


def _lines(url: str, redirect_url: str) -> Iterator[str]:
    yield _HEAD + (_MANY if redirect_url else _ONE) + (_HTTP if url else _SOCKETS)
    yield _LOOKS
    yield "  shortcuts:"
    for shortcut in SHORTCUTS:
        yield f"    - name: {shortcut.name}"
        yield f"      type: {shortcut.kind}"
        yield f"      callback_id: {shortcut.callback_id}"
        yield f"      description: {_text(shortcut.description)}"
    yield "  slash_commands:"
    for command in COMMANDS:
        yield from _command(command, url)
    yield "oauth_config:"
    if redirect_url:
        yield f"  redirect_urls:\n    - {_text(redirect_url)}"
    yield "  scopes:\n    bot:"
    for scope in needed_scopes():
        yield f"      - {scope} # {SCOPE_REASONS[scope]}"
    yield "    bot_optional: # may be declined at the installation"
    for scope, effect in OPTIONAL.items():
        yield f"      - {scope} # {effect}"
    yield "settings:\n  event_subscriptions:"
    yield from _request_url(url)
    yield "    bot_events:"
    for event in (*EVENTS, *INSTALLATION_EVENTS) if redirect_url else EVENTS:
        yield f"      - {event}" + (f" # {_EVENT_REASONS[event]}" if event in _EVENT_REASONS else "")
    yield "  interactivity:"
    yield "    is_enabled: true # buttons below answers, of approval requests and on the Home tab; forms"
    yield from _request_url(url)
    is_for_many = "true" if redirect_url else "false"
    yield f"  org_deploy_enabled: {is_for_many}"
    yield f"  socket_mode_enabled: {'false' if url else 'true'}"
    yield f"  token_rotation_enabled: {is_for_many}"


def _command(command: SlashCommand, url: str) -> Iterator[str]:
    yield f"    - command: {command.name}"
    if url:
        yield f"      url: {_text(url)}"
    yield f"      description: {_text(command.description)}"
    if command.usage:
        yield f"      usage_hint: {_text(command.usage)}"
    escape, reason = ("false", command.verbatim) if command.verbatim else ("true", _ESCAPED)
    yield f"      should_escape: {escape} # {reason}"


def _request_url(url: str) -> Iterator[str]:
    if url:
        yield f"    request_url: {_text(url)}"


def _text(text: str) -> str:
    """Return a text in YAML: as it is, or in the quotes of JSON, which YAML reads, too."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
