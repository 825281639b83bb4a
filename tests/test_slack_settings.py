"""Settings of an app that users install: each conflict is a sentence that says what to set."""

from pathlib import Path

import pytest

from bot.config import ConfigError, load_settings
from bot.main import SETTINGS

APP = {"SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "s", "SLACK_SIGNING_SECRET": "s"}
ONE = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "s"}
NAMED = {"ADMIN_USERS": "slack:T1/U1,discord:1,http:api", "APPROVALS_CHANNEL": "slack:T1/C1"}
KEY = {"ENCRYPTION_KEY": "00" * 32}
SPACES = {"ALLOWED_SPACES": "slack:*"}
PRODUCTION = {
    "BOT_ENV": "production",
    "REDIS_URL": "redis://localhost",
    "DATABASE_URL": "postgresql://localhost/x",
    "OPENAI_BASE_URL": "http://localhost",
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove all settings from the environment."""
    monkeypatch.chdir(tmp_path)
    for name in SETTINGS.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"SLACK_CLIENT_ID": "1.2"}, "SLACK_CLIENT_ID and SLACK_CLIENT_SECRET: set both"),
        ({"SLACK_CLIENT_SECRET": "s"}, "SLACK_CLIENT_ID and SLACK_CLIENT_SECRET: set both"),
        (APP | {"SLACK_BOT_TOKEN": "xoxb-1"}, "unset one of them"),
        (APP | {"SLACK_SIGNING_SECRET": ""}, "SLACK_CLIENT_ID: set SLACK_APP_TOKEN"),
        (APP | {"BOT_ROLES": "slack,worker"}, "needs the role http"),
        (APP | {"SLACK_APP_TOKEN": "xapp-1", "BOT_ROLES": "slack"}, "for /slack/install"),
        (APP | {"ENCRYPTION_KEY": "short"}, "ENCRYPTION_KEY: must be 32 bytes"),
        (
            APP | {"ADMIN_USERS": "slack:U1"},
            "ADMIN_USERS: with SLACK_CLIENT_ID write each with its",
        ),
        (APP | {"APPROVALS_CHANNEL": "slack:C1"}, "APPROVALS_CHANNEL: with SLACK_CLIENT_ID write each"),
        (ONE | {"ALLOWED_USERS": "slack:T1/U1"}, "ALLOWED_USERS: with SLACK_BOT_TOKEN write each without"),
        (APP | PRODUCTION | SPACES, "ENCRYPTION_KEY: must be set beside SLACK_CLIENT_ID"),
        (APP | PRODUCTION | KEY, "ALLOWED_SPACES: must be set beside SLACK_CLIENT_ID"),
    ],
)
def test_a_conflict_is_told_in_one_sentence(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings(SETTINGS)
    [problem] = caught.value.problems
    assert words in problem


@pytest.mark.parametrize(
    "variables",
    [APP, APP | NAMED, APP | PRODUCTION | KEY | SPACES, PRODUCTION | {"SLACK_BOT_TOKEN": "xoxb-1"}],
)
def test_what_is_complete_is_accepted(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One workspace needs no key, not even in production."""
    for name, value in (variables | {"SLACK_SIGNING_SECRET": "s"}).items():
        monkeypatch.setenv(name, value)
    assert any(each.is_configured for each in load_settings(SETTINGS).each_platform())


def test_what_answers_anybody_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    named: dict[str, list[str]] = {}
    for spaces in ("", "slack:*", "slack:T1"):
        for name, value in (APP | {"ALLOWED_SPACES": spaces}).items():
            monkeypatch.setenv(name, value)
        settings = load_settings(SETTINGS)
        named[spaces] = [each.info.name for each in settings.open_platforms(settings.each_platform())]
    assert named == {"": ["slack"], "slack:*": [], "slack:T1": []}
