"""Methods assistant.threads.* and agents.sessions.*: status and titles of threads."""

from typing import Any

from tests.servers.slack.methods import LOOKS, Args, method
from tests.servers.slack.rules import require
from tests.servers.slack.workspace import Workspace

Json = Any

SESSION_STATUSES = ("active", "processing", "suspended", "closed")


def _place(workspace: Workspace, args: Args) -> tuple[str, str | None]:
    channel = workspace.require_channel(args["channel_id"])
    thread_ts: str | None = args.get("thread_ts")
    workspace.check_thread(channel.id, thread_ts, "invalid_thread_ts")
    return channel.id, thread_ts


@method(
    "assistant.threads.setStatus",
    required="channel_id thread_ts status",
    optional=f"loading_messages {LOOKS}",
    per_minute=600,
)
def assistant_threads_set_status(workspace: Workspace, args: Args) -> dict[str, Json]:
    place = _place(workspace, args)
    loading = args.get("loading_messages", [])
    require(len(loading) <= 10, "invalid_arguments", "over 10 loading_messages")
    workspace.set_status(*place, args["status"], tuple(loading))
    return {}


@method("assistant.threads.setTitle", required="channel_id thread_ts title", per_minute=100)
def assistant_threads_set_title(workspace: Workspace, args: Args) -> dict[str, Json]:
    place = _place(workspace, args)
    direct = workspace.channels[place[0]].kind == "im"
    require(direct, "invalid_thread_ts", "only direct messages have titles")
    workspace.titles[place] = args["title"]
    return {}


@method(
    "assistant.threads.setSuggestedPrompts",
    required="channel_id prompts",
    optional="thread_ts title",
    per_minute=100,
)
def assistant_threads_set_suggested_prompts(workspace: Workspace, args: Args) -> dict[str, Json]:
    require(workspace.is_agent, "not_agent_app")
    place = _place(workspace, args)
    prompts = args["prompts"]
    require(1 <= len(prompts) <= 4, "invalid_arguments", f"{len(prompts)} prompts")
    complete = all(prompt.get("title") and prompt.get("message") for prompt in prompts)
    require(complete, "invalid_arguments", "a prompt needs title and message")
    workspace.prompts[place] = prompts
    return {}


@method(
    "agents.sessions.setStatus",
    required="channel_id status",
    optional=f"thread_ts title initiator_user_id {LOOKS}",
    per_minute=50,
)
def agents_sessions_set_status(workspace: Workspace, args: Args) -> dict[str, Json]:
    require(args["status"] in SESSION_STATUSES, "invalid_status", args["status"])
    require(args.get("thread_ts"), "thread_ts_required")
    require(workspace.is_agent, "not_agent_app")
    place = _place(workspace, args)
    title = args.get("title")
    require(title is None or 1 <= len(title) <= 200, "invalid_arguments", "a title has 1 to 200 characters")
    initiator = args.get("initiator_user_id")
    known = (
        initiator is None or initiator in workspace.users or _has_taken_part(workspace, place[0], initiator)
    )
    require(known, "user_not_found", str(initiator))
    if not workspace.session_status(*place):  # Slack ignores both for a session that exists
        workspace.initiators[place] = initiator
        if title:
            workspace.titles[place] = title
    workspace.set_session_status(*place, args["status"])
    if args["status"] == "processing" and not workspace.has_stop_button:
        return {"warning": "missing_agent_session_stopped_event_subscription"}
    return {}


@method("agents.sessions.rename", required="channel_id title", optional="thread_ts", per_minute=50)
def agents_sessions_rename(workspace: Workspace, args: Args) -> dict[str, Json]:
    require(workspace.is_agent, "not_agent_app")
    place = _place(workspace, args)
    require(workspace.session_status(*place), "session_not_found", "no session there")
    require(1 <= len(args["title"]) <= 200, "invalid_name", "a title has 1 to 200 characters")
    workspace.titles[place] = args["title"]
    return {}


def _has_taken_part(workspace: Workspace, channel: str, user: str) -> bool:
    """Return whether a user is or was in a channel."""
    is_member = user in workspace.channels[channel].members
    return is_member or any(message.user == user for message in workspace.messages[channel])
