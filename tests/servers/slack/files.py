"""files.*: an upload in three steps, as `files_upload_v2` of the SDK makes it."""

import mimetypes
from typing import Any

from tests.servers.slack.methods import Args, method
from tests.servers.slack.rules import (
    MAX_TEXT,
    Refused,
    check_blocks,
    require,
)
from tests.servers.slack.workspace import (
    BOT_USER,
    File,
    Message,
    Workspace,
)

Json = Any

MAX_ALT_TEXT = 1_000


@method(
    "files.getUploadURLExternal",
    required="filename length",
    optional="alt_txt snippet_type",
    per_minute=100,
    reads=True,
)
def files_get_upload_url_external(workspace: Workspace, args: Args) -> dict[str, Json]:
    require(str(args["length"]).isdecimal(), "invalid_arguments", f"length {args['length']!r}")
    length = int(args["length"])
    require(length > 0, "invalid_arguments", "length 0")
    require("snippet_type" not in args or length <= 1_000_000, "snippet_too_large", str(length))
    mimetype = mimetypes.guess_type(args["filename"])[0] or "application/octet-stream"
    alt = args.get("alt_txt", "")
    require(len(alt) <= MAX_ALT_TEXT, "alt_txt_too_large", str(len(alt)))
    id = workspace.new_id("F")
    file = File(id, args["filename"], mimetype, None, BOT_USER, length, alt=alt)
    workspace.files[file.id] = file
    return {"upload_url": f"{workspace.base}/upload/v1/{file.id}", "file_id": file.id}


@method(
    "files.completeUploadExternal",
    required="files",
    optional="channel_id channels thread_ts initial_comment blocks",
    per_minute=100,
)
def files_complete_upload_external(workspace: Workspace, args: Args) -> dict[str, Json]:
    files = [_uploaded(workspace, entry) for entry in args["files"]]
    check_blocks(args.get("blocks", []))
    comment = args.get("initial_comment", "")
    require(len(comment) <= MAX_TEXT, "msg_too_long", "initial_comment")
    listed = [args["channel_id"]] if "channel_id" in args else args.get("channels", "").split(",")
    channels = [workspace.require_channel(id) for id in listed if id]
    for channel in channels:
        workspace.check_thread(channel.id, args.get("thread_ts"))
    for channel in channels:
        workspace.post(
            Message(
                channel=channel.id,
                ts=workspace.new_ts(),
                user=BOT_USER,
                text=comment,
                thread_ts=args.get("thread_ts"),
                blocks=args.get("blocks", []),
                files=files,
            )
        )
    return {"files": [file.json(workspace.base, workspace.team) for file in files]}


@method("files.info", required="file", optional="cursor limit page count", per_minute=100, reads=True)
def files_info(workspace: Workspace, args: Args) -> dict[str, Json]:
    """Return a file that an event names without details, as for Slack Connect."""
    file = workspace.files.get(args["file"])
    if file is None:
        raise Refused(
            "file_not_found", str(args["file"]), provoked=True
        )  # it may be gone: no fault of the app
    return {"file": file.json(workspace.base, workspace.team), "comments": []}


def _uploaded(workspace: Workspace, entry: dict[str, str]) -> File:
    file = workspace.files.get(entry.get("id", ""))
    require(file and file.data is not None, "file_not_found", f"{entry.get('id')} was not uploaded")
    assert file is not None
    file.title = entry.get("title", "")
    return file
