"""Download of users' files; a sign-in page that Slack sends in place of a file is detected."""

from collections.abc import Mapping

from bot.chat import Attachment, CredentialsRejected, FileRefused, Json, PlatformError
from bot.platforms.texts import NO_ACCESS, SERVER_SILENT
from bot.slack import texts
from bot.slack.api import SlackApi
from bot.slack.content import FILE_ID, address_of
from bot.slack.errors import Refused

_REASONS = {"file_deleted": texts.FILE_DELETED, "file_not_found": NO_ACCESS}

_PAGES = ("html", "vnd.slack-docs")
"""Media types whose content is HTML: web pages and Slack's canvases."""


async def fetch(api: SlackApi, attachment: Attachment, most_bytes: int) -> bytes:
    """Download a file; the token is sent only to Slack's own hosts. Raises `FileRefused`."""
    url, media_type = attachment.url, attachment.media_type
    if url.startswith(FILE_ID):
        file = await _file_info(api, url.removeprefix(FILE_ID))
        url, media_type = address_of(file), str(file.get("mimetype") or media_type)
        if not url or url.startswith(FILE_ID):
            raise FileRefused(texts.FILE_HIDDEN)
    content = await api.download(url, most_bytes)
    if _is_sign_in_page(content) and not any(page in media_type for page in _PAGES):
        raise FileRefused(texts.READING_NOT_ALLOWED)
    return content


async def _file_info(api: SlackApi, id: str) -> Mapping[str, Json]:
    """Look up a file that an event only names, such as one from Slack Connect.

    https://docs.slack.dev/apis/slack-connect/#check_file_info
    """
    try:
        file = (await api.read("files.info", file=id)).get("file")
    except Refused as error:
        raise FileRefused(_REASONS.get(error.code, texts.FILE_HIDDEN)) from error
    except CredentialsRejected as error:
        raise FileRefused(texts.READING_NOT_ALLOWED) from error
    except PlatformError as error:
        raise FileRefused(SERVER_SILENT) from error
    return file if isinstance(file, dict) else {}


def _is_sign_in_page(content: bytes) -> bool:
    """Return whether this is Slack's sign-in page, sent with status 200 if the token cannot read a file."""
    begin = content[:20_000].lstrip().lower()
    return begin.startswith((b"<!doctype html", b"<html")) and b"slack" in begin
