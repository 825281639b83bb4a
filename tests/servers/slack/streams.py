"""Methods chat.startStream, chat.appendStream and chat.stopStream: a message is streamed once, then
completed.

Slack ends a stream about five minutes after its start and takes no more appends then
(slackapi/python-slack-sdk#1859); `Workspace.stream_lifetime` is that time, in seconds.
"""

import time
from typing import Any

from tests.servers.slack.methods import LOOKS, Args, method
from tests.servers.slack.rules import (
    MAX_BLOCKS,
    Refused,
    check_blocks,
    check_chunks,
    check_markdown,
    check_metadata,
    require,
)
from tests.servers.slack.threads import SESSION_STATUSES
from tests.servers.slack.workspace import (
    BOT_USER,
    Channel,
    Message,
    Workspace,
)

Json = Any


@method(
    "chat.startStream",
    required="channel",
    optional=f"thread_ts markdown_text chunks recipient_team_id recipient_user_id task_display_mode {LOOKS}",
    per_minute=20,
)
def chat_start_stream(workspace: Workspace, args: Args) -> dict[str, Json]:
    channel = workspace.require_channel(args["channel"])
    require(channel.kind != "mpim", "channel_type_not_supported", channel.kind)
    _check_recipient(workspace, channel, args)
    mode = args.get("task_display_mode", "timeline")
    require(mode in ("timeline", "plan", "dense"), "invalid_arguments", f"task_display_mode {mode!r}")
    _check_pieces(args)
    workspace.check_thread(channel.id, args.get("thread_ts"))
    message = Message(
        channel=channel.id,
        ts=workspace.new_ts(),
        user=BOT_USER,
        thread_ts=args.get("thread_ts"),
        streaming_state="in_progress",
        recipient=args.get("recipient_user_id"),
        task_display_mode=mode,
    )
    _add(message, args)
    workspace.post(message, "start")
    return {"channel": channel.id, "ts": message.ts}


def _check_recipient(workspace: Workspace, channel: Channel, args: Args) -> None:
    team, user = args.get("recipient_team_id"), args.get("recipient_user_id")
    if channel.kind != "im":
        require(team, "missing_recipient_team_id", channel.id)
        require(user, "missing_recipient_user_id", channel.id)
    teams = {person.get("team_id") for person in workspace.described.values()}
    require(team in {None, workspace.team} | teams, "team_not_found", str(team))
    require(user is None or user in workspace.users, "user_not_found", str(user))


@method("chat.appendStream", required="channel ts", optional="markdown_text chunks", per_minute=100)
def chat_append_stream(workspace: Workspace, args: Args) -> dict[str, Json]:
    message = _streaming(workspace, args)
    require(args.get("markdown_text") or args.get("chunks"), "no_text")
    _check_pieces(args, message)
    _add(message, args)
    message.record("append")
    return {"channel": message.channel, "ts": message.ts}


@method(
    "chat.stopStream",
    required="channel ts",
    optional="markdown_text chunks blocks metadata session_status",
    per_minute=20,
)
def chat_stop_stream(workspace: Workspace, args: Args) -> dict[str, Json]:
    message = _streaming(workspace, args, by_user="message_not_in_streaming_state")
    _check_pieces(args, message)
    check_blocks(args.get("blocks", []))
    check_metadata(args.get("metadata"))
    session_status = args.get("session_status")
    require(session_status in (None, *SESSION_STATUSES), "invalid_status", str(session_status))
    before = message.visible_text
    _add(message, args)
    message.blocks += args.get("blocks", [])
    message.metadata = args.get("metadata") or None
    message.streaming_state = "completed"
    message.ended_by = "bot"
    message.record("stop")
    if session_status:
        workspace.set_session_status(message.channel, message.thread_ts, session_status)
    workspace.on_change("changed", message, before)
    return {"channel": message.channel, "ts": message.ts}


def _streaming(workspace: Workspace, args: Args, *, by_user: str = "stopped_by_user") -> Message:
    """Return the message that is being streamed; only an append says that a user has stopped it."""
    channel = workspace.require_channel(args["channel"])
    message = workspace.own(channel.id, args["ts"], "message_not_owned_by_app")
    require(message.streaming_state, "message_not_in_streaming_state", "it was posted")
    started = message.history[0].at
    if message.streaming_state == "in_progress" and time.monotonic() - started > workspace.stream_lifetime:
        workspace.expire_stream(message)
    if message.ended_by == "user":
        raise Refused(by_user, message.ts, provoked=True)
    if message.streaming_state != "in_progress":
        ended_by_slack = message.ended_by == "slack"
        raise Refused("message_not_in_streaming_state", message.ts, provoked=ended_by_slack)
    return message


def _check_pieces(args: Args, message: Message | None = None) -> None:
    check_chunks(args.get("chunks", []))
    check_markdown(args.get("markdown_text", ""))
    blocks = len(message.blocks) if message else 0
    blocks += sum(len(chunk.get("blocks", ())) for chunk in args.get("chunks", []))
    require(blocks <= MAX_BLOCKS, "msg_blocks_too_many", f"{blocks} blocks in the chunks of a stream")


def _add(message: Message, args: Args) -> None:
    """Add the pieces; a repeated task replaces title and status and extends the rest."""
    message.text += args.get("markdown_text", "")
    for chunk in args.get("chunks", []):
        message.chunks.append(chunk)
        match chunk["type"]:
            case "markdown_text":
                message.text += chunk["text"]
            case "blocks":
                message.blocks += chunk["blocks"]
            case "plan_update":
                require(message.task_display_mode == "plan", "invalid_chunks", "a title without a plan")
                message.plan = chunk["title"]
            case "task_update":
                _update_task(message.tasks.setdefault(chunk["id"], {}), chunk)


def _update_task(task: dict[str, Json], chunk: dict[str, Json]) -> None:
    for name in ("details", "output"):
        if chunk.get(name):
            task[name] = task.get(name, "") + chunk[name]
    task |= {"title": chunk["title"], "status": chunk["status"]}
    task.setdefault("sources", []).extend(chunk.get("sources") or ())
