"""Declaration of Web API methods, and the methods auth.*, chat.*, reactions.* and apps.*."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tests.servers.slack.rules import (
    MAX_TEXT,
    MAX_UPDATED_TEXT,
    Refused,
    check_content,
    require,
    unfurls,
)
from tests.servers.slack.workspace import (
    APP,
    BOT,
    BOT_USER,
    Message,
    Workspace,
    message_json,
)

Json = Any
Args = dict[str, Json]
Handler = Callable[[Workspace, Args], dict[str, Json]]


@dataclass(frozen=True, slots=True)
class Method:
    """Web API method. `per_minute` is its tier; methods that only read take no JSON body."""

    name: str
    handler: Handler
    required: frozenset[str]
    optional: frozenset[str]
    per_minute: int
    token: Literal["bot", "app", "none"]
    reads: bool


def method(
    name: str,
    *,
    required: str = "",
    optional: str = "",
    per_minute: int,
    token: Literal["bot", "app", "none"] = "bot",
    reads: bool = False,
) -> Callable[[Handler], Method]:
    """Make a method of a handler; the names of its arguments are in a string, separated by spaces."""

    def declare(handler: Handler) -> Method:
        arguments = frozenset(required.split()), frozenset(optional.split())
        return Method(name, handler, *arguments, per_minute, token, reads)

    return declare


@method("auth.test", per_minute=200)
def auth_test(workspace: Workspace, args: Args) -> dict[str, Json]:
    return {
        "url": workspace.url,
        "team": workspace.name,
        "user": workspace.users[BOT_USER],
        "team_id": workspace.team,
        "user_id": BOT_USER,
        "bot_id": BOT,
        "app_id": APP,
        "is_enterprise_install": bool(workspace.organisation),
        **({"enterprise_id": workspace.organisation} if workspace.organisation else {}),
    }


@method("auth.teams.list", optional="cursor limit include_icon", per_minute=20, reads=True)
def auth_teams_list(workspace: Workspace, args: Args) -> dict[str, Json]:
    teams = workspace.siblings or [workspace.team]
    return {"teams": [{"id": each, "name": each.title()} for each in teams]}


@method("api.test", per_minute=1_000, token="none")
def api_test(workspace: Workspace, args: Args) -> dict[str, Json]:
    return {}


@method("apps.connections.open", per_minute=50, token="app")
def apps_connections_open(workspace: Workspace, args: Args) -> dict[str, Json]:
    return {"url": workspace.issue_socket_url()}


LOOKS = "username icon_emoji icon_url"
CONTENT = "text markdown_text blocks attachments metadata parse link_names as_user "


@method(
    "chat.postMessage",
    required="channel",
    optional=f"{CONTENT} {LOOKS} thread_ts reply_broadcast mrkdwn unfurl_links unfurl_media",
    per_minute=60,  # "about one a second" for each channel
)
def chat_post_message(workspace: Workspace, args: Args) -> dict[str, Json]:
    channel = workspace.writable(args["channel"])
    check_content(args)
    workspace.check_thread(channel.id, args.get("thread_ts"))
    message = workspace.post(
        Message(
            channel=channel.id,
            ts=workspace.new_ts(),
            user=BOT_USER,
            text=args.get("markdown_text") or args.get("text", "")[:MAX_TEXT],
            thread_ts=args.get("thread_ts"),
            blocks=args.get("blocks", []),
            metadata=args.get("metadata") or None,
            broadcast=str(args.get("reply_broadcast", "")).lower() in ("true", "1"),
        )
    )
    if unfurls(args):
        workspace.violate("chat.postMessage: Slack's servers would fetch the links in the text")
    body = message_json(workspace, message, metadata=True)
    return {"channel": channel.id, "ts": message.ts, "message": body}


@method(
    "chat.postEphemeral", required="channel user", optional=f"{CONTENT} {LOOKS} thread_ts", per_minute=100
)
def chat_post_ephemeral(workspace: Workspace, args: Args) -> dict[str, Json]:
    channel = workspace.require_channel(args["channel"])
    check_content(args)
    require(args["user"] in channel.members, "user_not_in_channel", args["user"])
    workspace.check_thread(channel.id, args.get("thread_ts"))
    text = args.get("markdown_text") or args.get("text", "")
    workspace.show_to(args["user"], channel.id, text, args.get("blocks", []), args.get("thread_ts"))
    return {"message_ts": workspace.new_ts()}


@method(
    "chat.update",
    required="channel ts",
    optional=f"{CONTENT} reply_broadcast file_ids unfurled_attachments",
    per_minute=50,
)
def chat_update(workspace: Workspace, args: Args) -> dict[str, Json]:
    channel = workspace.require_channel(args["channel"])
    message = workspace.own(channel.id, args["ts"], "cant_update_message")
    require(message.streaming_state != "in_progress", "streaming_state_conflict", message.ts)
    check_content(args)
    length = len(args.get("text", ""))
    require(length <= MAX_UPDATED_TEXT, "msg_too_long", f"text over {MAX_UPDATED_TEXT}: {length}")
    before = message.visible_text
    message.text = args.get("markdown_text") or args.get("text", "")
    message.blocks = args.get("blocks", [])
    if "metadata" in args:
        message.metadata = args["metadata"] or None
    message.edited = True
    message.record("update")
    workspace.on_change("changed", message, before)
    body = message_json(workspace, message, metadata=True)
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": body}


@method("chat.delete", required="channel ts", optional="as_user", per_minute=50)
def chat_delete(workspace: Workspace, args: Args) -> dict[str, Json]:
    channel = workspace.require_channel(args["channel"])
    message = workspace.own(channel.id, args["ts"], "cant_delete_message")
    require(message.streaming_state != "in_progress", "cant_delete_message", "it is being streamed")
    workspace.delete(message)
    return {"channel": channel.id, "ts": message.ts}


def _reaction(workspace: Workspace, args: Args) -> tuple[Message, tuple[str, str]]:
    channel = workspace.require_channel(args["channel"])
    message = workspace.find(channel.id, args["timestamp"])
    if message is None:
        raise Refused("message_not_found", f"{channel.id} {args['timestamp']}")
    name = args["name"]
    require(name == name.strip(":").lower() and " " not in name, "invalid_name", name)
    return message, (name, BOT_USER)


@method("reactions.add", required="channel timestamp name", per_minute=50)
def reactions_add(workspace: Workspace, args: Args) -> dict[str, Json]:
    message, reaction = _reaction(workspace, args)
    if reaction in message.reactions:
        raise Refused("already_reacted", provoked=True)  # a repeated call is how one makes sure
    message.reactions.add(reaction)
    return {}


@method("reactions.remove", required="channel timestamp name", per_minute=20)
def reactions_remove(workspace: Workspace, args: Args) -> dict[str, Json]:
    message, reaction = _reaction(workspace, args)
    if reaction not in message.reactions:
        raise Refused("no_reaction", provoked=True)
    message.reactions.discard(reaction)
    return {}
