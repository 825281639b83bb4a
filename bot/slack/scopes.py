"""Scopes of the Slack app: each method, event and feature that the bot uses, and the scopes that it needs.

https://docs.slack.dev/reference/methods and /reference/events, each page's "Scopes".
"""

from collections.abc import Mapping, Sequence

_LISTS = ("channels:read", "groups:read", "im:read", "mpim:read")
_MESSAGES = ("channels:history", "groups:history", "im:history", "mpim:history")

METHODS: Mapping[str, Sequence[str]] = {
    "agents.sessions.setStatus": ("chat:write",),
    "apps.connections.open": (),  # the scope connections:write of the app-level token
    "assistant.search.context": ("search:read.public",),
    "assistant.threads.setStatus": ("chat:write",),
    "assistant.threads.setSuggestedPrompts": ("assistant:write",),
    "auth.teams.list": (),  # only where an organisation has installed the app
    "auth.test": (),
    "chat.appendStream": ("chat:write",),
    "chat.delete": ("chat:write",),
    "chat.postEphemeral": ("chat:write",),
    "chat.postMessage": ("chat:write",),
    "chat.startStream": ("chat:write",),
    "chat.stopStream": ("chat:write",),
    "chat.update": ("chat:write",),
    "conversations.history": _MESSAGES,
    "conversations.info": _LISTS,
    "conversations.open": ("im:write",),
    "conversations.replies": _MESSAGES,
    "files.completeUploadExternal": ("files:write",),
    "files.getUploadURLExternal": ("files:write",),
    "files.info": ("files:read",),
    "usergroups.list": ("usergroups:read",),
    "users.conversations": _LISTS,
    "users.info": ("users:read",),
    "users.list": ("users:read",),
    "views.open": (),
    "views.publish": (),
}
"""Methods of the Web API that the bot calls."""

EVENTS: Mapping[str, Sequence[str]] = {
    "agent_session_stopped": (),
    "agent_session_title_changed": (),
    "app_context_changed": (),
    "app_home_opened": (),
    "app_mention": ("app_mentions:read",),
    "message.channels": ("channels:history",),
    "message.groups": ("groups:history",),
    "message.im": ("im:history",),
    "message.mpim": ("mpim:history",),
    "reaction_added": ("reactions:read",),
    "user_change": ("users:read",),
}
"""Events that the bot handles."""

INSTALLATION_EVENTS = ("app_uninstalled", "team_access_granted", "team_access_revoked", "tokens_revoked")
"""Events that it handles in addition where users install the app; they need no scopes."""

FEATURES: Mapping[str, Sequence[str]] = {
    "agent_view": ("assistant:write",),
    "files of users": ("files:read",),
    "slash_commands": ("commands",),
    "shortcuts": ("commands",),
}
"""Other features of the app that need scopes."""

OPTIONAL: Mapping[str, str] = {
    "search:read.public": "without it the newest messages of a few channels are searched",
}
"""Scopes that an administrator may decline at the installation, and what happens then."""


def needed_scopes() -> Sequence[str]:
    """Return all scopes of the bot token, in alphabetical order."""
    uses = (*METHODS.values(), *EVENTS.values(), *FEATURES.values())
    return sorted({scope for each in uses for scope in each})
