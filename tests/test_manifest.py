"""Manifests of the Slack app and of Discord's commands: generated from the code, with nothing too much.

The protocol servers hold the bot to them: Slack's refuses calls without a scope of `manifest.yml` and sends
only the events that it subscribes to; Discord's gives the bot the permissions of the invite link.
"""

import ast
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from bot.discord.manifest import application_of, command_payload, invite_link
from bot.discord.permissions import NEEDED
from bot.main import main
from bot.slack.manifest import INSTALL, PATH, REDIRECT, SCOPE_REASONS, manifest
from bot.slack.scopes import EVENTS, INSTALLATION_EVENTS, METHODS, needed_scopes
from bot.slack.slash_commands import ASK, ASK_ABOUT, CHANNEL, HEALTH, MEMORY, REDIS, STOP, USAGE
from tests.servers.discord.commands import check_commands
from tests.servers.discord.records import INVITED, PERMISSIONS
from tests.servers.slack.api import METHODS as SERVED
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support import slack_platform
from tests.support.bot import ROOT
from tests.support.rooms import BOT
from tests.support.slack_platform import Connect, Serve

connect_platform = slack_platform.connect_platform
serving = slack_platform.serve
server = slack_platform.server

MANIFEST = yaml.safe_load((ROOT / "manifest.yml").read_text())

SCOPES = {  # https://docs.slack.dev/reference/events and /methods, each page's "Scopes"
    "app_mention": "app_mentions:read",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "message.im": "im:history",
    "message.mpim": "mpim:history",
    "reaction_added": "reactions:read",
    "agent_session_stopped": "",
    "agent_session_title_changed": "",
    "app_context_changed": "",
    "app_home_opened": "",
    "user_change": "users:read",
}


def test_the_manifest_subscribes_to_what_is_parsed_and_asks_for_no_scope_without_a_use() -> None:
    events = MANIFEST["settings"]["event_subscriptions"]["bot_events"]
    assert set(events) == set(SCOPES)
    used = {SCOPES[event] for event in events if SCOPES[event]}
    used |= {"assistant:write", "chat:write", "commands"}
    used |= {"channels:read", "groups:read", "im:read", "mpim:read"}  # users.conversations
    used |= {"files:read", "files:write"}  # url_private_download; files.getUploadURLExternal and its end
    used |= {"users:read", "usergroups:read"}  # users.info, usergroups.list
    used |= {"im:write"}  # where the file of /agent-memory export goes
    used |= {"search:read.public"}  # assistant.search.context; a bot gets no scope for private channels
    scopes = MANIFEST["oauth_config"]["scopes"]
    assert scopes["bot"] == sorted(used)
    # Slack wants those in both lists: https://docs.slack.dev/authentication/installing-with-oauth
    assert scopes["bot_optional"] == ["search:read.public"]


def test_the_manifest_has_the_commands_that_are_answered() -> None:
    assert [each["command"] for each in MANIFEST["features"]["slash_commands"]] == [
        HEALTH,
        REDIS,
        CHANNEL,
        STOP,
        USAGE,
        MEMORY,
    ]


def test_the_manifest_has_the_shortcuts_that_are_answered() -> None:
    """Slack takes at most 24 characters of a name, and 150 of a description."""
    shortcuts = MANIFEST["features"]["shortcuts"]
    assert {(each["callback_id"], each["type"]) for each in shortcuts} == {
        (ASK, "global"),
        (ASK_ABOUT, "message"),
    }
    assert all(len(each["name"]) <= 24 and len(each["description"]) <= 150 for each in shortcuts)


def test_the_manifest_lets_forms_be_sent_and_values_arrive_as_typed() -> None:
    """Slack opens no modal without interactivity; with escaping it replaces what looks like a name."""
    assert MANIFEST["settings"]["interactivity"]["is_enabled"] is True
    commands = {each["command"]: each for each in MANIFEST["features"]["slash_commands"]}
    assert commands[REDIS]["should_escape"] is False


def test_the_manifest_keeps_to_slacks_lengths() -> None:
    assert len(MANIFEST["display_information"]["name"]) <= 35
    assert len(MANIFEST["display_information"]["description"]) <= 140
    assert len(MANIFEST["features"]["agent_view"]["agent_description"]) <= 300
    assert len(MANIFEST["features"]["bot_user"]["display_name"]) <= 80
    assert len(MANIFEST["features"]["agent_view"]["suggested_prompts"]) <= 4
    assert len(MANIFEST["features"]["shortcuts"]) <= 10
    for each in MANIFEST["features"]["shortcuts"]:
        assert len(each["callback_id"]) <= 255
    for each in MANIFEST["features"]["slash_commands"]:
        assert len(each["command"]) <= 32
        assert len(each["description"]) <= 2_000
        assert len(each.get("usage_hint", "")) <= 1_000
    assert len(MANIFEST["settings"]["event_subscriptions"]["bot_events"]) <= 100
    assert len(MANIFEST["oauth_config"]["scopes"]["bot"]) <= 255


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what `bot manifest` prints."""
    assert main(["manifest", *arguments]) == 0
    return capsys.readouterr().out


def test_the_manifest_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """Renew it with `./dev run manifest > manifest.yml` when this fails."""
    assert printed(capsys) == (ROOT / "manifest.yml").read_text()


FAMILIES = re.compile(
    r"(agents|apps|assistant|auth|chat|conversations|files|usergroups|users|views)(\.[a-zA-Z]+)+"
)


def texts_in_slack() -> Iterator[str]:
    """Yield all texts in the code of the Slack platform, except in the declaration of methods."""
    for path in (BOT / "slack").glob("*.py"):
        if path.name != "scopes.py":
            nodes = ast.walk(ast.parse(path.read_text()))
            yield from (
                each.value for each in nodes if isinstance(each, ast.Constant) and type(each.value) is str
            )


def test_each_method_that_the_code_calls_is_declared_with_its_scopes_and_no_other() -> None:
    called = {text for text in texts_in_slack() if FAMILIES.fullmatch(text)}
    assert called == METHODS.keys()
    assert METHODS.keys() <= SERVED.keys(), "the protocol server knows them"


def test_each_event_that_the_manifest_subscribes_to_is_named_where_events_are_handled() -> None:
    handled = set(texts_in_slack())
    assert {event.partition(".")[0] for event in (*EVENTS, *INSTALLATION_EVENTS)} <= handled


def test_each_scope_has_its_reason_as_a_comment() -> None:
    assert SCOPE_REASONS.keys() == set(needed_scopes())
    lines = (ROOT / "manifest.yml").read_text().splitlines()
    for scope, reason in SCOPE_REASONS.items():
        assert f"      - {scope} # {reason}" in lines


async def test_each_command_of_the_manifest_is_answered(server: Slack, serving: Serve) -> None:
    """None falls to the sentence for unknown commands, which names those that there are."""
    async with serving(server):
        await server.command("/agent-dance", "", ALICE, GENERAL)
    offered = {HEALTH, STOP, USAGE}  # the platform under test has no storage for the others
    assert offered == set(re.findall(r"/agent-(?!dance)\w+", server.ephemerals[0].text))
    assert offered | {REDIS, CHANNEL, MEMORY} == {
        each["command"] for each in MANIFEST["features"]["slash_commands"]
    }


@pytest.mark.parametrize(
    "url", ["https://bot.example.org", "https://bot.example.org/", f"https://bot.example.org{PATH}"]
)
def test_in_http_mode_every_request_goes_to_the_address_of_the_bot(
    capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """The manifest for sockets differs in nothing else."""
    there = "https://bot.example.org/slack/events"
    over_http = yaml.safe_load(printed(capsys, "--http", url))
    assert {each.pop("url") for each in over_http["features"]["slash_commands"]} == {there}
    settings = over_http["settings"]
    assert settings["event_subscriptions"].pop("request_url") == there
    assert settings["interactivity"].pop("request_url") == there
    assert settings["socket_mode_enabled"] is False
    settings["socket_mode_enabled"] = True
    assert over_http == MANIFEST


@pytest.mark.parametrize("over_http", [False, True], ids=["sockets", "http"])
@pytest.mark.parametrize(
    "url",
    ["https://bot.example.org", f"https://bot.example.org{INSTALL}", f"https://bot.example.org{REDIRECT}/"],
)
def test_for_many_workspaces_the_app_can_be_installed_and_hears_of_it(
    capsys: pytest.CaptureFixture[str], url: str, *, over_http: bool
) -> None:
    """The manifest for one workspace has none of that, and differs in nothing else."""
    http = ["--http", "https://bot.example.org"] if over_http else []
    one, many = (yaml.safe_load(printed(capsys, *http, *oauth)) for oauth in ([], ["--oauth", url]))
    assert many["oauth_config"].pop("redirect_urls") == ["https://bot.example.org/slack/oauth_redirect"]
    events = many["settings"]["event_subscriptions"]["bot_events"]
    lifecycle = ["app_uninstalled", "team_access_granted", "team_access_revoked", "tokens_revoked"]
    assert events[-4:] == lifecycle
    del events[-4:]
    for option in ("org_deploy_enabled", "token_rotation_enabled"):
        assert (one["settings"][option], many["settings"][option]) == (False, True)
        many["settings"][option] = False
    assert one == many


async def test_the_path_of_the_manifest_is_the_one_that_is_served(
    server: Slack, connect_platform: Connect
) -> None:
    over_http = {"app_token": None, "signing_secret": server.signing_secret}
    async with connect_platform(server, **over_http) as platform:
        assert list(platform.webhooks) == [PATH]


@pytest.mark.parametrize(
    "url",
    [
        "bot.example.org",
        "http://bot.example.org",
        "https://",
        "https://x y",
        "https://x\nname: y",
        "https://x?a",
    ],
)
def test_an_address_that_slack_would_not_take_is_refused(url: str) -> None:
    with pytest.raises(SystemExit):
        main(["manifest", "--http", url])


def test_discords_commands_are_what_discord_takes(capsys: pytest.CaptureFixture[str]) -> None:
    payload = json.loads(printed(capsys, "--discord"))
    check_commands(payload)
    assert payload == command_payload()
    names = {f"/{each['name']}" for each in payload}
    assert {HEALTH, REDIS, CHANNEL, STOP, USAGE, MEMORY} <= names


def test_commands_for_administrators_are_hidden_from_others() -> None:
    """Manage Server is the default that a server can change; each use is checked again."""
    needed = {each["name"]: each["default_member_permissions"] for each in command_payload()}
    manage_server = PERMISSIONS["manage_guild"]
    hidden = {"agent-redis", "agent-channel"}
    assert needed == {name: manage_server if name in hidden else None for name in needed}


def test_discords_commands_are_for_servers_and_users_wherever_they_are_used() -> None:
    """Descriptions are in English only: Discord shows them to all, whatever their language."""
    for each in command_payload():
        assert each["integration_types"] == [0, 1]
        assert each["contexts"] == [0, 1, 2]
        assert not each.get("name_localizations")
        assert not each.get("description_localizations")


TOKEN = "ODAzNTEyMzQ1Njc4OTAxMjM0.GAbcde.secret"
"""Token of the application 803512345678901234, as Discord forms it."""


def test_the_invite_link_asks_for_what_the_bot_needs_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The protocol server refuses what needs another permission, in all tests."""
    assert NEEDED == INVITED
    monkeypatch.setenv("DISCORD_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)  # no .env
    link = urlsplit(printed(capsys, "--invite").strip())
    assert (link.scheme, link.netloc, link.path) == ("https", "discord.com", "/oauth2/authorize")
    assert parse_qs(link.query) == {
        "client_id": ["803512345678901234"],
        "permissions": [str(sum(PERMISSIONS[name] for name in INVITED))],
        "scope": ["bot applications.commands"],
    }
    assert printed(capsys, "--invite", "--application", "5").strip() == invite_link("5")


@pytest.mark.parametrize("token", ["", "x", "\x00.a.b", "YWJj.a.b", "é.a.b", "M.a.b"])
def test_a_token_without_an_application_is_told(
    token: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token itself is never printed."""
    assert application_of(token) == ""
    if "\x00" not in token:
        monkeypatch.setenv("DISCORD_TOKEN", token)
    monkeypatch.chdir(tmp_path)  # no .env
    assert main(["manifest", "--invite"]) == 2
    assert "use --application ID" in capsys.readouterr().err


def test_the_manifest_is_data_that_no_text_of_a_command_can_break() -> None:
    assert yaml.safe_load(manifest()) == MANIFEST


@pytest.mark.parametrize("command", ["manifest", "settings"])
def test_a_command_whose_output_nobody_reads_ends_as_others_do(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    """`./dev run manifest | head` ended with a trace."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr("sys.stdout", output)
        assert main([command]) == 141
    assert capfd.readouterr().err == ""


def test_the_product_has_one_name() -> None:
    """The page's is in `tests/test_page.py`; package and command stay `bot`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["scripts"]) == ("threadmate", {"bot": "bot.main:main"})
    assert (ROOT / "README.md").read_text().startswith("# Threadmate\n")
    assert MANIFEST["display_information"]["name"] == "Threadmate"
    assert MANIFEST["features"]["bot_user"]["display_name"] == "Threadmate"
