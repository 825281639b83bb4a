"""Download of users' files; a sign-in page that Slack sends in place of a file is detected."""

from collections.abc import Mapping

from bot.chat import Attachment, CredentialsRejected, FileRefused, Json, PlatformError
from bot.slack.api import SlackApi
from bot.slack.content import FILE_ID, address_of
from bot.slack.errors import Refused

_REASONS = {
    "file_deleted": "it was deleted",
    "file_not_found": "it was deleted, or I have no access to it",
}
_HIDDEN = "Slack does not let me see it"
_NO_SCOPE = "I have no access to it; the app may lack the scope files:read"
_UNREACHABLE = "Slack is not responding; please try again in a few minutes"

_PAGES = ("html", "vnd.slack-docs")
"""Media types whose content is HTML: web pages and Slack's canvases."""


async def fetch(api: SlackApi, attachment: Attachment, most_bytes: int) -> bytes:
    """Download a file; the token is sent only to Slack's own hosts. Raises `FileRefused`."""
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
    """Look up a file that an event only names, such as one from Slack Connect.

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
    """Return whether this is Slack's sign-in page, sent with status 200 if the token cannot read a file."""
    begin = content[:20_000].lstrip().lower()
    return begin.startswith((b"<!doctype html", b"<html")) and b"slack" in begin
