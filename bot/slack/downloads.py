"""Files that people send along: found, downloaded, and told from the page that Slack gives in their place."""

from collections.abc import Mapping

from bot.chat import Attachment, CredentialsRejected, FileRefused, Json, PlatformError
from bot.slack.api import SlackApi
from bot.slack.content import FILE_ID, address_of
from bot.slack.errors import Refused

_REASONS = {
    "file_deleted": "it was deleted",
    "file_not_found": "it is gone, or I may not see it",
}
_HIDDEN = "Slack does not let me see it"
_NO_SCOPE = "Slack does not show it to me; the app may lack the scope files:read"
_UNREACHABLE = "Slack does not answer just now"

_PAGES = ("html", "vnd.slack-docs")
"""Media types whose content is HTML: pages, and Slack's own canvases."""


async def fetch(api: SlackApi, attachment: Attachment, most_bytes: int) -> bytes:
    """Download a file. The token goes to Slack's own hosts, and to no other. Raises `FileRefused`."""
    url, media_type = attachment.url, attachment.media_type
    if url.startswith(FILE_ID):
        file = await _described(api, url.removeprefix(FILE_ID))
        url, media_type = address_of(file), str(file.get("mimetype") or media_type)
        if not url or url.startswith(FILE_ID):
            raise FileRefused(_HIDDEN)
    content = await api.download(url, most_bytes)
    if _is_sign_in_page(content) and not any(page in media_type for page in _PAGES):
        raise FileRefused(_NO_SCOPE)
    return content


async def _described(api: SlackApi, id: str) -> Mapping[str, Json]:
    """Look up a file that an event only names, as those of Slack Connect are.

    https://docs.slack.dev/apis/slack-connect/#check_file_info
    """
    try:
        file = (await api.read("files.info", file=id)).get("file")
    except Refused as error:
        raise FileRefused(_REASONS.get(error.code, _HIDDEN)) from error
    except CredentialsRejected as error:
        raise FileRefused(_NO_SCOPE) from error
    except PlatformError as error:
        raise FileRefused(_UNREACHABLE) from error
    return file if isinstance(file, dict) else {}


def _is_sign_in_page(content: bytes) -> bool:
    """Return whether it is the page that Slack gives, with status 200, where a token may not see a file."""
    begin = content[:20_000].lstrip().lower()
    return begin.startswith((b"<!doctype html", b"<html")) and b"slack" in begin
