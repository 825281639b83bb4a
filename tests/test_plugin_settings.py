"""Values of MCP_SERVERS and TOOL_PLUGINS, and the messages about wrong ones."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.config import ConfigError, load_settings, unknown_names
from bot.config.plugins import Policy, plugin_settings
from bot.main import SETTINGS


def problems(servers: str = "{}", entry_points: str = "", *, has_approvers: bool = True) -> list[str]:
    return list(plugin_settings(SecretStr(servers), entry_points, has_approvers=has_approvers).problems)


def test_a_server_has_the_defaults_of_the_documentation() -> None:
    """All tools, 30 s, and a person asked for each call."""
    found = plugin_settings(SecretStr('{"shop": {"command": "npx"}}'), "", has_approvers=True)
    assert found.servers["shop"].policy == Policy(("*",), 30.0, ("*",))
    assert not found.problems


def test_entry_points_may_be_a_list_or_an_object() -> None:
    """Their calls need no approval unless that is said."""
    assert plugin_settings(None, "orders, crm", has_approvers=False).entry_points == {
        "orders": Policy(),
        "crm": Policy(),
    }
    text = '{"orders": {"allow": ["a*"], "timeout": 5, "approval": ["ab"]}}'
    policy = plugin_settings(None, text, has_approvers=True).entry_points["orders"]
    assert (policy.allows("ab"), policy.allows("b")) == (True, False)
    assert (policy.needs_approval("ab"), policy.needs_approval("a"), policy.timeout) == (True, False, 5)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{", "MCP_SERVERS: is not valid JSON (Expecting property name enclosed in double quotes, line 1"),
        ("[]", "MCP_SERVERS: must be a JSON object that gives each plug-in a name"),
        ('{"a": {"command": "x"}, "a": {"command": "y"}}', "MCP_SERVERS: names 'a' twice"),
        ('{"A b": {"command": "x"}}', "MCP_SERVERS: 'A b' is not a valid name for a plug-in: use 1 to 24"),
        ('{"a__b": {"command": "x"}}', "MCP_SERVERS: 'a__b' is not a valid name for a plug-in"),
        ('{"a": "x"}', "MCP_SERVERS: a: write an object in braces"),
        ('{"a": {}}', "MCP_SERVERS: a: set either command or url"),
        ('{"a": {"command": "x", "url": "http://y"}}', "MCP_SERVERS: a: set either command or url"),
        ('{"a": {"command": "x", "headers": {}}}', "MCP_SERVERS: a: headers does not go with command"),
        ('{"a": {"url": "http://y", "env": {}}}', "MCP_SERVERS: a: env does not go with url"),
        ('{"a": {"url": "ftp://y"}}', "MCP_SERVERS: a: url must begin with https:// or http://"),
        ('{"a": {"command": "x", "colour": 1}}', "MCP_SERVERS: a: 'colour' is unknown"),
        ('{"a": {"command": "x", "args": "y"}}', "MCP_SERVERS: a: args must be a list of strings"),
        ('{"a": {"command": "x", "env": {"K": 1}}}', "MCP_SERVERS: a: env must be an object of strings"),
        ('{"a": {"command": "x", "timeout": 0}}', "MCP_SERVERS: a: timeout must be between 0 and 300 s"),
        ('{"a": {"command": "x", "timeout": true}}', "MCP_SERVERS: a: timeout must be between 0 and 300"),
        ('{"a": {"command": "x", "approval": "no"}}', "MCP_SERVERS: a: approval must be true, false or a"),
        ('{"a": {"command": "x", "env": {"K": "${NOT_SET}"}}}', "MCP_SERVERS: a: the environment has no NOT"),
        (
            '{"a": {"url": "http://y", "headers": {"K": "a\\nb"}}}',
            "MCP_SERVERS: a: headers may not hold",
        ),
    ],
)
def test_each_fault_has_a_sentence(given: str, told: str) -> None:
    """It names the setting, the plug-in, and what to do."""
    (problem,) = problems(given)
    assert problem.startswith(told)


def test_all_faults_are_told_at_once_and_no_value_is() -> None:
    """Of several plug-ins, of both settings."""
    servers = {"a": {"url": "secret-1", "headers": {"K": 5}}, "b": {"command": "x", "hidden-key": "secret-2"}}
    told = problems(json.dumps(servers), "b, C")
    assert len(told) == 4
    assert "secret" not in str(told)
    assert "TOOL_PLUGINS: b is the name of an MCP server, too; rename one" in problems(
        '{"b": {"command": "x"}}', "b"
    )


def test_approval_needs_somebody_who_may_approve() -> None:
    """Else nobody could ever run the tool."""
    (told,) = problems('{"a": {"command": "x"}}', has_approvers=False)
    assert "set APPROVERS or ADMIN_USERS" in told
    assert not problems('{"a": {"command": "x", "approval": false}}', has_approvers=False)


def test_secrets_are_known_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Values of the environment, of .env and of the JSON itself; a log level is no secret."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("SHOP_TOKEN=from-dot-env\n")
    monkeypatch.setenv("PIN", "1234")
    servers = {
        "shop": {"command": "x", "args": ["--pin=${PIN}"], "env": {"T": "${SHOP_TOKEN}", "LEVEL": "debug"}},
        "web": {"url": "https://u:pass-word@h/mcp?key=query-key-1", "headers": {"A": "Bearer header-token"}},
    }
    settings = SETTINGS(_env_file=None, mcp_servers=json.dumps(servers), admin_users="slack:U1")
    secrets = settings.secrets()
    for each in ("from-dot-env", "1234", "pass-word", "query-key-1", "header-token"):
        assert each in secrets
        assert each not in f"{settings!r} {settings.plugins!r}"
    assert "debug" not in secrets
    assert settings.plugins.servers["shop"].args == ("--pin=1234",)


@pytest.mark.parametrize("quote", ["", "'"])
def test_what_a_server_in_the_env_file_refers_to_is_a_secret_or_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quote: str
) -> None:
    """The reader of `.env` would put variables in, as if they were no secrets or not missing."""
    monkeypatch.chdir(tmp_path)
    for name in (*map(str.upper, SETTINGS.model_fields), "SHOP_TOKEN", "NOWHERE"):
        monkeypatch.delenv(name, raising=False)
    servers = '{"shop": {"command": "x", "args": ["--token", "${SHOP_TOKEN}"]}}'
    text = f"SHOP_TOKEN='say \"hi\"'\nADMIN_USERS=slack:U1\nMCP_SERVERS={quote}{servers}{quote}\n"
    (tmp_path / ".env").write_text(text)
    settings = load_settings(SETTINGS)
    assert settings.plugins.servers["shop"].args == ("--token", 'say "hi"')
    assert 'say "hi"' in settings.secrets()
    assert unknown_names(SETTINGS) == []  # it is not ignored
    (tmp_path / ".env").write_text(text.replace("${SHOP_TOKEN}", "${NOWHERE}"))
    with pytest.raises(ConfigError, match="the environment has no NOWHERE"):
        load_settings(SETTINGS)
    monkeypatch.setenv("MCP_SERVERS", "{}")
    assert not load_settings(SETTINGS).plugins.servers
