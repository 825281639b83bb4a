"""Methods conversations.* and users.*, with pages by cursor as in Slack."""

from collections.abc import Sequence
from typing import Any

from tests.servers.slack.methods import Args, method
from tests.servers.slack.rules import Refused, require
from tests.servers.slack.workspace import (
    BOT_USER,
    Channel,
    Message,
    Workspace,
    message_json,
)

Json = Any

PAGE = "cursor limit"
SPAN = f"oldest latest inclusive include_all_metadata {PAGE}"
KINDS = {"public_channel": "channel", "private_channel": "group", "mpim": "mpim", "im": "im"}


def _flag(args: Args, name: str) -> bool:
    return str(args.get(name, "")).lower() in ("1", "true")


def _stamp(args: Args, name: str, default: float, code: str) -> float:
    try:
        return float(args.get(name, default))
    except ValueError:
        raise Refused(code, str(args[name])) from None


def _between(messages: Sequence[Message], args: Args) -> list[Message]:
    oldest = _stamp(args, "oldest", 0, "invalid_ts_oldest")
    latest = _stamp(args, "latest", float("inf"), "invalid_ts_latest")
    inclusive = _flag(args, "inclusive")
    return [
        each
        for each in messages
        if oldest < float(each.ts) < latest or (inclusive and float(each.ts) in (oldest, latest))
    ]


def _page(items: Sequence[Json], args: Args, default: int) -> tuple[Sequence[Json], dict[str, Json]]:
    cursor = str(args.get("cursor") or "at:0")
    require(cursor.startswith("at:"), "invalid_cursor", cursor)
    start, size = int(cursor[3:]), int(args.get("limit") or default)
    require(1 <= size <= 1000, "invalid_limit", str(size))
    more = start + size < len(items)
    metadata = {"next_cursor": f"at:{start + size}" if more else ""}
    return items[start : start + size], {"has_more": more, "response_metadata": metadata}


def _messages(workspace: Workspace, messages: Sequence[Message], args: Args) -> list[dict[str, Json]]:
    metadata = _flag(args, "include_all_metadata")
    return [message_json(workspace, each, metadata=metadata) for each in messages]


@method("conversations.history", required="channel", optional=SPAN, per_minute=50, reads=True)
def conversations_history(workspace: Workspace, args: Args) -> dict[str, Json]:
    channel = workspace.require_channel(args["channel"])
    visible = [
        each
        for each in workspace.messages[channel.id]
        if not each.deleted and (each.thread_ts is None or each.broadcast)
    ]
    page, rest = _page(_between(visible, args)[::-1], args, 100)
    return {"messages": [*workspace.broken, *_messages(workspace, page, args)]} | rest


@method("conversations.replies", required="channel ts", optional=SPAN, per_minute=50, reads=True)
def conversations_replies(workspace: Workspace, args: Args) -> dict[str, Json]:
    channel = workspace.require_channel(args["channel"])
    named = workspace.find(channel.id, args["ts"])
    if named is None:
        is_deleted = workspace.was_deleted(channel.id, args["ts"])
        raise Refused("thread_not_found", f"{channel.id} {args['ts']}", provoked=is_deleted)
    root = workspace.find(channel.id, named.root)
    replies = _between(list(workspace.replies(channel.id, named.root)), args)
    page, rest = _page(replies, args, 1000)
    first = [root] if root and not args.get("cursor") else []
    return {"messages": [*workspace.broken, *_messages(workspace, [*first, *page], args)]} | rest


def _channel_json(workspace: Workspace, channel: Channel) -> dict[str, Json]:
    body: dict[str, Json] = {
        "id": channel.id,
        "is_channel": channel.kind == "channel",
        "is_group": channel.kind == "group",
        "is_im": channel.kind == "im",
        "is_mpim": channel.kind == "mpim",
        "is_private": channel.kind != "channel",
        "is_archived": channel.archived,
        "is_ext_shared": channel.is_shared,
        "context_team_id": workspace.team,
        **({"shared_team_ids": channel.teams} if channel.teams else {}),
        **({"conversation_host_id": channel.teams[0]} if channel.teams else {}),
    }
    if channel.kind == "im":
        (user,) = channel.members - {BOT_USER}
        return body | {"user": user}
    return body | {"name": channel.name, "is_member": BOT_USER in channel.members}


@method(
    "conversations.info",
    required="channel",
    optional="include_locale include_num_members",
    per_minute=50,
    reads=True,
)
def conversations_info(workspace: Workspace, args: Args) -> dict[str, Json]:
    channel = workspace.channel(args["channel"])
    hidden = channel.kind != "channel" and BOT_USER not in channel.members
    require(not hidden, "channel_not_found", channel.id)
    return {"channel": _channel_json(workspace, channel)}


SEARCH = "action_token channel_types content_types include_bots before after sort sort_dir"


@method("assistant.search.context", required="query", optional=f"{SEARCH} {PAGE}", per_minute=10, reads=True)
def assistant_search_context(workspace: Workspace, args: Args) -> dict[str, Json]:
    """Search in the name of the user of a token; a bot token has the scope for public channels only."""
    require(args.get("action_token") in workspace.action_tokens, "invalid_action_token")
    types = set(str(args.get("channel_types", "public_channel")).split(","))
    require(types <= KINDS.keys(), "invalid_arguments", str(types))
    require(types == {"public_channel"}, "missing_scope", "search:read.private")
    require(1 <= int(args.get("limit", 20)) <= 20, "invalid_arguments", "limit")
    words = str(args["query"]).casefold().split()
    found = [
        message
        for channel in workspace.channels.values()
        if channel.kind == "channel"
        for message in workspace.messages[channel.id]
        if any(word in message.text.casefold() for word in words)
    ]
    return {"results": {"messages": [_found(workspace, each) for each in found]}}


def _found(workspace: Workspace, message: Message) -> dict[str, Json]:
    return {
        "author_user_id": message.user,
        "team_id": workspace.team,
        "channel_id": message.channel,
        "message_ts": message.ts,
        "content": message.text,
        "is_author_bot": message.from_bot,
        "permalink": f"{workspace.url}archives/{message.channel}/p{message.ts.replace('.', '')}",
    }


@method("conversations.open", optional="channel users return_im prevent_creation", per_minute=50)
def conversations_open(workspace: Workspace, args: Args) -> dict[str, Json]:
    if "channel" in args:
        return {"channel": {"id": workspace.require_channel(args["channel"]).id}}
    listed = args.get("users", "")
    users = listed.split(",") if isinstance(listed, str) else listed
    require(users and users[0], "users_list_not_supplied")
    require(len(users) == 1, "too_many_users", "this server opens direct channels with one person only")
    require(users[0] in workspace.users, "user_not_found", users[0])
    return {"channel": {"id": workspace.im(users[0]).id}}


@method(
    "users.conversations",
    optional=f"types user exclude_archived exclude_muted {PAGE}",
    per_minute=50,
    reads=True,
)
def users_conversations(workspace: Workspace, args: Args) -> dict[str, Json]:
    types = args.get("types", "public_channel").split(",")
    require(set(types) <= KINDS.keys(), "invalid_types", args.get("types", ""))
    kinds = {KINDS[each] for each in types}
    user = args.get("user", BOT_USER)
    require(user in workspace.users, "user_not_found", user)
    joined = [
        _channel_json(workspace, each)
        for each in workspace.channels.values()
        if user in each.members
        and each.kind in kinds
        and (each.kind == "channel" or BOT_USER in each.members)  # a private one only if the app sees it
        and not (each.archived and _flag(args, "exclude_archived"))
    ]
    page, rest = _page(joined, args, 100)
    return {"channels": page, "response_metadata": rest["response_metadata"]}


@method("users.info", required="user", optional="include_locale", per_minute=100, reads=True)
def users_info(workspace: Workspace, args: Args) -> dict[str, Json]:
    id = args["user"]
    require(id in workspace.users, "user_not_found", id)
    return {"user": _user_json(workspace, id, args)}


@method("users.list", optional=f"include_locale {PAGE}", per_minute=20, reads=True)
def users_list(workspace: Workspace, args: Args) -> dict[str, Json]:
    page, rest = _page([_user_json(workspace, id, args) for id in workspace.users], args, 100)
    return {"members": page, "response_metadata": rest["response_metadata"]}


def _user_json(workspace: Workspace, id: str, args: Args) -> dict[str, Json]:
    name = workspace.users[id]
    locale = {"locale": "de-DE"} if _flag(args, "include_locale") else {}
    profile = {"real_name": name.title(), "display_name": name, "team": workspace.team}
    return {
        "id": id,
        "team_id": workspace.team,
        "name": name,
        "real_name": name.title(),
        "tz": "Europe/Berlin",
        "tz_offset": 3600,
        **locale,
        "is_bot": id == BOT_USER,
        "deleted": False,
        "is_restricted": False,
        "is_ultra_restricted": False,
        "profile": profile,
        **_organisation(workspace),
    } | workspace.described.get(id, {})


def _organisation(workspace: Workspace) -> dict[str, Json]:
    if not workspace.organisation:
        return {}
    return {"enterprise_user": {"enterprise_id": workspace.organisation, "teams": workspace.siblings}}


@method(
    "usergroups.list",
    optional="include_count include_disabled include_users",
    per_minute=20,
    reads=True,
)
def usergroups_list(workspace: Workspace, args: Args) -> dict[str, Json]:
    described = {"team_id": workspace.team, "is_usergroup": True, "is_external": False, "date_delete": 0}
    groups = [
        {"id": id, "handle": handle, "name": handle.title(), **described}
        for id, handle in workspace.groups.items()
    ]
    return {"usergroups": groups}
