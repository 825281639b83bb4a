"""Settings: what is read from where, and what a person is told when something is wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.config import ConfigError, load_settings, settings_table
from bot.config.access import AccessSettings
from bot.http.adapter import HttpSettings
from bot.main import SETTINGS, main

DOCUMENT = Path(__file__).parent.parent / "docs" / "settings.md"

SECRETS = {
    "SLACK_BOT_TOKEN": "xoxb-1-bot",
    "SLACK_APP_TOKEN": "xapp-1-app",
    "SLACK_SIGNING_SECRET": "signing-secret",
    "DISCORD_TOKEN": "discord-token",
    "OPENAI_API_KEY": "sk-openai-key",
    "REDIS_URL": "redis://:redis-password@localhost/0",
    "DATABASE_URL": "postgresql://ada:postgres-password@localhost/shop",
    "DATABASE_WRITE_URL": "postgresql://eve:writer-password@localhost/shop",
    "API_TOKEN": "api-token-of-the-test",
    "ENCRYPTION_KEY": "0123456789abcdef" * 4,
    "MCP_SERVERS": '{"shop": {"command": "shop", "env": {"KEY": "shop-secret"}, "approval": false}}',
    "HOOKS": '{"deploys": {"channel": "slack:C012AB", "secret": "secret-of-the-sender"}}',
}

CALLER_SECRETS = {
    "API_TOKENS": "ada:token-of-ada-in-the-test,bob:token-of-bob-in-the-test",
    "TRUSTED_PROXY_TOKEN": "token-of-the-proxy-in-the-test",
}
"""Secrets of callers over HTTP."""

APP_SECRETS = {"SLACK_CLIENT_SECRET": "client-secret"}
"""Secrets of an app that users install, in place of SLACK_BOT_TOKEN."""

DEFAULTS = {
    "BOT_ENV": "development",
    "SLACK_BOT_TOKEN": None,
    "SLACK_APP_TOKEN": None,
    "SLACK_SIGNING_SECRET": None,
    "SLACK_API_URL": "https://slack.com/api/",
    "DISCORD_TOKEN": None,
    "DISCORD_API_URL": None,
    "OPENAI_API_KEY": None,
    "OPENAI_BASE_URL": None,
    "OPENAI_FALLBACK_MODEL": None,
    "OPENAI_EMBEDDING_MODEL": None,
    "OPENAI_TRANSCRIPTION_MODEL": None,
    "REQUEST_TIMEOUT": 30,
    "REDIS_URL": None,
    "DATABASE_URL": None,
    "DATA_DIR": Path(".bot"),
    "HTTP_HOST": "127.0.0.1",
    "HTTP_PORT": 8080,
    "API_TOKEN": None,
    "ADMIN_USERS": frozenset(),
    "ALLOWED_USERS": frozenset(),
    "ALLOWED_CHANNELS": frozenset(),
    "MAX_ITERATIONS": 5,
    "MAX_WORKERS": 10,
    "EVENT_LOOP": "uvloop",
    "DB_POOL_SIZE": 10,
    "REDIS_POOL_SIZE": 20,
    "ENABLE_MEMORY": True,
    "THREAD_TTL_DAYS": 30,
    "HISTORY_TOKENS": 8000,
    "BOT_NAME": "",
    "BOT_ROLES": frozenset({"slack", "discord", "http", "worker"}),
    "LEASE_SECONDS": 15,
    "SHUTDOWN_GRACE": 20,
    "REDIS_OPS_PREFIX": "kv:",
    "DEBUG": False,
    "LOG_FORMAT": "console",
    "INSTRUCTIONS": "",
    "INSTRUCTIONS_FILE": None,
    "CHANNEL_MODELS": frozenset(),
    "FOLLOW_UP": "partner",
}
"""The contract: defaults that users rely on. Not every setting is here."""

Environ = Callable[..., None]


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environ:
    """Sets exactly these variables; the working directory is empty, so that there is no `.env`."""
    monkeypatch.chdir(tmp_path)

    def set_only(**variables: str) -> None:
        for name in set(os.environ) & {name.upper() for name in SETTINGS.model_fields}:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    set_only()
    return set_only


def problems_of(environ: Environ, **variables: str) -> list[str]:
    environ(**variables)
    with pytest.raises(ConfigError) as caught:
        load_settings(SETTINGS)
    return caught.value.problems


def test_nothing_set_gives_the_defaults_of_the_contract(environ: Environ) -> None:
    """Everything is optional, and the defaults are those that the documentation promises."""
    loaded = load_settings(SETTINGS)
    assert {name: getattr(loaded, name.lower()) for name in DEFAULTS} == DEFAULTS
    assert not loaded.has_model


def test_documentation_holds_the_table_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/settings.md is what `python -m bot settings` prints; renew it when this fails."""
    assert main(["settings"]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == settings_table(SETTINGS)
    assert printed.strip() in DOCUMENT.read_text()


def test_table_has_a_row_of_three_cells_for_every_variable() -> None:
    """Each variable once, with a meaning; nothing in a description breaks the table."""
    head, rule, *rows = settings_table(SETTINGS).splitlines()
    cells = [row.strip("|").split("|") for row in rows]
    assert sorted(cell[0].strip(" `") for cell in cells) == sorted(map(str.upper, SETTINGS.model_fields))
    assert cells[0][0].strip(" `") == "BOT_ENV", "what is set first comes first"
    assert all(len(cell) == 3 and cell[1].strip() for cell in cells)
    assert head.count("|") == rule.count("|") == 4


def test_variables_are_read_into_their_types(environ: Environ) -> None:
    """Numbers, booleans, paths and lists are what they look like."""
    environ(
        HTTP_PORT="0",
        ENABLE_MEMORY="false",
        DATA_DIR="/srv/bot",
        REQUEST_TIMEOUT="2.5",
        BOT_ROLES="http,worker",
        LOG_FORMAT="json",
    )
    loaded = load_settings(SETTINGS)
    assert (loaded.of(HttpSettings).http_port, loaded.enable_memory, loaded.data_dir) == (
        0,
        False,
        Path("/srv/bot"),
    )
    assert (loaded.request_timeout, loaded.log_format) == (2.5, "json")
    assert sorted(loaded.bot_roles) == ["http", "worker"]


@pytest.mark.parametrize("written", ["slack:U1,discord:2", " slack:U1 , discord:2 ,", "slack:U1\ndiscord:2"])
def test_lists_may_be_written_with_commas_and_blanks(environ: Environ, written: str) -> None:
    """Blanks and a comma at the end change nothing."""
    environ(ADMIN_USERS=written, ALLOWED_USERS=written, ALLOWED_CHANNELS=written)
    loaded = load_settings(SETTINGS)
    assert loaded.admin_users == loaded.allowed_users == loaded.allowed_channels == {"slack:U1", "discord:2"}


@pytest.mark.parametrize("written", [",", "  ", " , ,"])
def test_a_list_without_an_entry_is_empty(environ: Environ, written: str) -> None:
    """Commas and blanks alone name nobody."""
    environ(ADMIN_USERS=written)
    assert load_settings(SETTINGS).admin_users == frozenset()


def test_instructions_are_a_text_or_a_file(environ: Environ) -> None:
    """Without blanks around them; a mark at the beginning of the file is none of it."""
    environ(INSTRUCTIONS=" Be brief.\nBe kind. ")
    assert load_settings(SETTINGS).read_instructions() == "Be brief.\nBe kind."
    Path("rules.md").write_text("\ufeffBe brief.\n", encoding="utf-8")
    environ(INSTRUCTIONS_FILE="rules.md")
    assert load_settings(SETTINGS).read_instructions() == "Be brief."
    environ()
    assert load_settings(SETTINGS).read_instructions() == ""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "INSTRUCTIONS_FILE: rules.md cannot be read: No such file or directory"),
        (b"\xff\xfe\x00", "INSTRUCTIONS_FILE: rules.md is not text in UTF-8"),
        (b"x" * 10_001, "INSTRUCTIONS_FILE: use 10,000 characters at most"),
        (b"x" * 10_000_000, "INSTRUCTIONS_FILE: use 10,000 characters at most"),
    ],
)
def test_a_file_of_instructions_that_cannot_be_used_is_told(
    environ: Environ, content: bytes | None, problem: str
) -> None:
    """At the start, not at the first question."""
    if content is not None:
        Path("rules.md").write_bytes(content)
    assert problems_of(environ, INSTRUCTIONS_FILE="rules.md") == [problem]


def test_what_is_no_file_is_not_read_for_instructions(environ: Environ) -> None:
    """Fault: the start would wait for ever for somebody to write into a pipe."""
    os.mkfifo("pipe")
    assert problems_of(environ, INSTRUCTIONS_FILE="pipe") == ["INSTRUCTIONS_FILE: pipe is not a file"]
    assert problems_of(environ, INSTRUCTIONS_FILE=".") == ["INSTRUCTIONS_FILE: . is not a file"]


def test_instructions_that_contradict_or_are_too_long_are_told(environ: Environ) -> None:
    [problem] = problems_of(environ, INSTRUCTIONS="Be brief.", INSTRUCTIONS_FILE="rules.md")
    assert problem.startswith("INSTRUCTIONS_FILE: unset it or INSTRUCTIONS")
    assert problems_of(environ, INSTRUCTIONS="x" * 10_001) == ["INSTRUCTIONS: use 10,000 characters at most"]


def test_models_of_channels_need_a_service_and_prices(environ: Environ) -> None:
    """Like the others."""
    assert problems_of(environ, CHANNEL_MODELS="big, small") == [
        "CHANNEL_MODELS: also set OPENAI_API_KEY or OPENAI_BASE_URL"
    ]
    priced = {"BUDGET_USER": "1 EUR", "MODEL_PRICES": '{"gpt-5-mini": [1, 2], "small": [1, 2]}'}
    [problem] = problems_of(environ, OPENAI_API_KEY="sk-1", CHANNEL_MODELS="big,small", **priced)
    assert "'big' (CHANNEL_MODELS)" in problem


def test_empty_variables_count_as_unset(environ: Environ) -> None:
    """As `NAME=` in a compose file does."""
    environ(**dict.fromkeys(DEFAULTS, ""))
    loaded = load_settings(SETTINGS)
    assert {name: getattr(loaded, name.lower()) for name in DEFAULTS} == DEFAULTS


def test_dotenv_is_read_and_the_environment_wins(environ: Environ) -> None:
    """`.env` gives what the environment does not say; names that are not ours are left alone."""
    Path(".env").write_text("HTTP_PORT=9001\nBOT_NAME=from-file\nSOMEBODY_ELSES=1\n")
    environ(BOT_NAME="from-environment")
    loaded = load_settings(SETTINGS)
    assert (loaded.of(HttpSettings).http_port, loaded.bot_name) == (9001, "from-environment")


def test_problem_in_dotenv_is_reported_like_any_other(environ: Environ) -> None:
    """A wrong value in the file is named, too."""
    Path(".env").write_text("HTTP_PORT=many\n")
    assert [problem.split(":")[0] for problem in problems_of(environ)] == ["HTTP_PORT"]


def test_all_problems_are_reported_at_once(environ: Environ) -> None:
    """Values that are wrong by themselves, and what is missing between variables, in one go."""
    problems = problems_of(
        environ,
        BOT_ENV="production",
        HTTP_PORT="70000",
        LOG_FORMAT="xml",
        ADMIN_USERS="ada",
        BOT_ROLES="slack,telegram",
        OPENAI_BASE_URL="ftp://models",
        DATABASE_URL="mysql://db",
        SLACK_SIGNING_SECRET="signing",
        LEASE_SECONDS="0",
    )
    named = {problem.split(":")[0] for problem in problems}
    assert named == {
        "HTTP_PORT",
        "LOG_FORMAT",
        "ADMIN_USERS",
        "BOT_ROLES",
        "OPENAI_BASE_URL",
        "DATABASE_URL",
        "SLACK_SIGNING_SECRET",
        "LEASE_SECONDS",
        "REDIS_URL",
        "SLACK_BOT_TOKEN or DISCORD_TOKEN",
    }
    assert len(problems) == len(named), "a problem is told twice"


WRONG = {
    "HOOKS": ("[]", "write a JSON object"),
    "HTTP_PORT": ("-1", "greater than or equal to 0"),
    "MAX_WORKERS": ("0", "greater than 0"),
    "REDIS_POOL_SIZE": ("3", "greater than or equal to 4"),
    "HISTORY_TOKENS": ("499", "greater than or equal to 500"),
    "REQUEST_TIMEOUT": ("soon", "valid number"),
    "ENABLE_MEMORY": ("perhaps", "valid boolean"),
    "BOT_ENV": ("staging", "'development' or 'production'"),
    "LOG_FORMAT": ("xml", "'console' or 'json'"),
    "EVENT_LOOP": ("trio", "'uvloop' or 'asyncio'"),
    "API_TOKEN": ("a" * 15, "at least 16 printable characters"),
    "BOT_ROLES": ("telegram", "'slack', 'discord', 'http' or 'worker'"),
    "SLACK_BOT_TOKEN": ("xapp-1", "must begin with xoxb-"),
    "SLACK_APP_TOKEN": ("xoxb-1", "must begin with xapp-"),
    "SLACK_API_URL": ("slack.com/api", "begins with https:// or http://"),
    "DISCORD_API_URL": ("https://", "begins with https:// or http://"),
    "OPENAI_BASE_URL": ("http://localhost:99999/v1", "correct its port"),
    "OPENAI_API_KEY": ("sk-one\nsk-two", "on one line"),
    "LEASE_SECONDS": ("inf", "less than or equal to 3600"),
    "REDIS_URL": ("localhost:6379", "redis:// or rediss:// or unix://"),
    "DATABASE_URL": ("mysql://db", "postgres:// or postgresql://"),
    "ADMIN_USERS": ("U012AB", "platform:id, for example slack:U012AB"),
    "ALLOWED_CHANNELS": ("slack:C1,general", "not 'general'"),
    "BOT_NAME": ("my bot", "letters, digits, - or _"),
    "ALLOWED_SPACES": ("T1", "platform:id, for example slack:U012AB"),
    "ALLOWED_ROLES": ("moderators", "not 'moderators'"),
    "ALLOWED_BOTS": ("discord:1,B2", "not 'B2'"),
    "BOT_LOOP_LIMIT": ("0", "greater than 0"),
    "USER_RATE": ("0", "greater than 0"),
    "CHANNEL_RATE": ("many", "valid integer"),
    "BUDGET_USER": ("200000", "200000 tokens or 2.50 EUR"),
    "BUDGET_CHANNEL": ("0 tokens", "200000 tokens or 2.50 EUR"),
    "BUDGET_SPACE": ("1.5 tokens", "200000 tokens or 2.50 EUR"),
    "BUDGET_TOTAL": ("-5 USD", "200000 tokens or 2.50 EUR"),
    "MODEL_PRICES": ('{"gpt-5": 2}', '{"gpt-5-mini": [0.25, 2]}'),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_value_is_told_with_its_variable_and_what_is_allowed(environ: Environ, name: str) -> None:
    """One fault, one sentence."""
    value, advice = WRONG[name]
    (problem,) = problems_of(environ, **{name: value})
    assert problem.startswith(f"{name}: ")
    assert advice in problem


@pytest.mark.parametrize(
    "prefix",
    ["{bot}", "{bot}:kv:", "{", "checkpoint", "check", "c", "recall", "write_keys_zset:x", "a\nb"],
)
def test_a_prefix_that_reaches_the_bots_own_keys_is_refused(environ: Environ, prefix: str) -> None:
    """Neither may it be the beginning of own keys, nor begin like them."""
    [problem] = problems_of(environ, REDIS_OPS_PREFIX=prefix)
    assert problem.startswith("REDIS_OPS_PREFIX: ")
    assert "own keys" in problem or "printable" in problem


@pytest.mark.parametrize("prefix", ["kv:", "KV", "{kv}:", "bot:", "*", "ops/"])
def test_any_other_prefix_is_taken(environ: Environ, prefix: str) -> None:
    environ(REDIS_OPS_PREFIX=prefix)
    assert load_settings(SETTINGS).redis_ops_prefix == prefix


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, ["SLACK_BOT_TOKEN"]),
        ({"SLACK_APP_TOKEN": "xapp-1"}, ["SLACK_APP_TOKEN"]),
        ({"SLACK_SIGNING_SECRET": "s"}, ["SLACK_SIGNING_SECRET"]),
        (
            {"SLACK_SIGNING_SECRET": "s", "SLACK_APP_TOKEN": "xapp-1"},
            ["SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET"],
        ),
        ({"OPENAI_MODEL": "gpt-5"}, ["OPENAI_MODEL"]),
        ({"OPENAI_EMBEDDING_MODEL": "embed-1"}, ["OPENAI_EMBEDDING_MODEL"]),
        ({"OPENAI_TRANSCRIPTION_MODEL": "whisper-1"}, ["OPENAI_TRANSCRIPTION_MODEL"]),
        (
            {"OPENAI_FALLBACK_MODEL": "gpt-4", "OPENAI_MODEL": "gpt-5"},
            ["OPENAI_FALLBACK_MODEL", "OPENAI_MODEL"],
        ),
    ],
)
def test_variable_that_needs_another_says_which(
    environ: Environ, variables: dict[str, str], named: list[str]
) -> None:
    """Half a configuration is refused rather than ignored."""
    problems = problems_of(environ, **variables)
    assert [problem.split(":")[0] for problem in problems] == named
    assert all(" set " in f" {problem}" for problem in problems)


@pytest.mark.parametrize(
    "variables",
    [
        {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"},
        {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "s"},
        {"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1", "OPENAI_MODEL": "qwen"},
        {"OPENAI_API_KEY": "sk-1", "OPENAI_FALLBACK_MODEL": "gpt-4"},
        {"REDIS_URL": "unix:///run/redis.sock"},
        {"REDIS_URL": "redis+sentinel://:p%40ss@s1:26379,s2,[::1]:26380/bot/1"},
        {
            "REDIS_URL": "rediss://user:pass@host:6380/1",
            "DATABASE_URL": "postgres://u:p@host/db?sslmode=require",
        },
    ],
)
def test_whole_configuration_is_accepted(environ: Environ, variables: dict[str, str]) -> None:
    """Settings that belong together are enough."""
    environ(**variables)
    load_settings(SETTINGS)


@pytest.mark.parametrize("address", ["s1:26379", "s1:26379/", "s1,/bot", "s1:port/bot", "u:p@ss@s1/bot"])
def test_an_incomplete_address_of_sentinels_is_told_without_its_password(
    environ: Environ, address: str
) -> None:
    (problem,) = problems_of(environ, REDIS_URL=f"redis+sentinel://{address}")
    assert problem.startswith("REDIS_URL: must read redis+sentinel://[user:password@]")
    assert "p@ss" not in problem


def test_a_wrong_value_is_not_also_called_missing(environ: Environ) -> None:
    """A production bot with a mistyped address of Redis is told only that."""
    environ(**SECRETS, BOT_ENV="production")
    load_settings(SETTINGS)
    (problem,) = problems_of(environ, **SECRETS | {"BOT_ENV": "production", "REDIS_URL": "localhost"})
    assert problem.startswith("REDIS_URL: must begin with")


def test_production_names_everything_that_is_missing(environ: Environ) -> None:
    """Stores, a model and a platform; each sentence says why it is asked for."""
    problems = problems_of(environ, BOT_ENV="production")
    assert [problem.split(":")[0] for problem in problems] == [
        "REDIS_URL",
        "DATABASE_URL",
        "OPENAI_API_KEY or OPENAI_BASE_URL",
        "SLACK_BOT_TOKEN or DISCORD_TOKEN",
    ]
    assert all("BOT_ENV=production" in problem for problem in problems)


@pytest.mark.parametrize(
    "platform",
    [
        {"DISCORD_TOKEN": "t"},
        {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"},
        {"API_TOKEN": "0123456789abcdef"},
    ],
)
def test_production_is_content_with_one_platform(environ: Environ, platform: dict[str, str]) -> None:
    """Slack, Discord or HTTP with a token, no matter which."""
    environ(
        BOT_ENV="production",
        REDIS_URL="redis://r",
        DATABASE_URL="postgresql://d",
        OPENAI_BASE_URL="https://models.example/v1",
        **platform,
    )
    assert load_settings(SETTINGS).bot_env == "production"


def test_secrets_are_all_known_to_the_log(environ: Environ) -> None:
    """`secrets()` has the value of every secret variable, so that a log can hide it."""
    secret_fields = {
        name.upper() for name, field in SETTINGS.model_fields.items() if "SecretStr" in str(field.annotation)
    }
    assert secret_fields == SECRETS.keys() | CALLER_SECRETS.keys() | APP_SECRETS.keys()
    environ(**SECRETS)
    assert set(load_settings(SETTINGS).secrets()) >= set(SECRETS.values())
    environ(**CALLER_SECRETS, TRUSTED_USER_HEADER="X-Forwarded-User")
    values = {each.rpartition(":")[2] for text in CALLER_SECRETS.values() for each in text.split(",")}
    assert set(load_settings(SETTINGS).secrets()) >= values
    environ(**APP_SECRETS, SLACK_CLIENT_ID="1.2", SLACK_APP_TOKEN=SECRETS["SLACK_APP_TOKEN"])
    assert set(load_settings(SETTINGS).secrets()) >= set(APP_SECRETS.values())


def test_a_password_is_known_to_the_log_as_it_is_written_and_as_it_is_used(environ: Environ) -> None:
    """An error may tell it without its address. A token that only looks like an address is no fault."""
    environ(
        REDIS_URL="redis://:p%40ss%2Fword@localhost",
        DATABASE_URL="postgresql://localhost/shop?user=ada&password=w%C3%B6rd-9",
        API_TOKEN="//[no-address-at-all",
    )
    assert set(load_settings(SETTINGS).secrets()) >= {"p%40ss%2Fword", "p@ss/word", "wörd-9"}


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"API_TOKENS": "ada"}, "write each as name:token"),
        ({"API_TOKENS": "Ada:0123456789abcdef"}, "write each as name:token"),
        ({"API_TOKENS": "ada:0123456789abcde"}, "at least 16 printable characters"),
        ({"API_TOKENS": "api:0123456789abcdef"}, "belongs to API_TOKEN"),
        ({"API_TOKENS": "ada:0123456789abcdef,ada:0123456789abcdeg"}, "the name ada is there twice"),
        ({"API_TOKENS": "ada:0123456789abcdef,bob:0123456789abcdef"}, "two names have the same token"),
        ({"API_TOKENS": "ada:0123456789abcdef", "API_TOKEN": "0123456789abcdef"}, "have the same token"),
        ({"TRUSTED_USER_HEADER": "X-User"}, "set both, or none"),
        ({"TRUSTED_PROXY_TOKEN": "0123456789abcdef"}, "set both, or none"),
        ({"TRUSTED_USER_HEADER": "Authorization"}, "must be the name of a header"),
    ],
)
def test_a_token_that_stands_for_no_one_caller_is_refused(
    environ: Environ, variables: dict[str, str], sentence: str
) -> None:
    problems = problems_of(environ, **variables)
    assert any(sentence in each for each in problems)
    assert "0123456789" not in str(problems)


def test_settings_do_not_print_secrets(environ: Environ) -> None:
    """Neither `repr` nor `str` of the settings shows one."""
    environ(**SECRETS)
    loaded = load_settings(SETTINGS)
    assert not [value for value in SECRETS.values() if value in f"{loaded!r} {loaded}"]


UNREADABLE = {
    "SLACK_BOT_TOKEN": "xoxp-{}",
    "SLACK_APP_TOKEN": "xoxb-{}",
    "REDIS_URL": "http://:{}@localhost",
    "DATABASE_URL": "postgresql+asyncpg://ada:{}@localhost/shop",
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(rest=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12))
@pytest.mark.parametrize("name", UNREADABLE)
def test_problems_never_hold_the_value_of_a_secret(environ: Environ, name: str, rest: str) -> None:
    """Whatever is wrong with it, and beside other problems."""
    secret = f"pQ7zX{rest}"  # nothing that a sentence could hold by chance
    for problem in problems_of(environ, HTTP_PORT="many", **{name: UNREADABLE[name].format(secret)}):
        assert secret not in problem


@pytest.mark.parametrize("name", ["REDIS_URL", "DATABASE_URL"])
@pytest.mark.parametrize("secret", ["c\u2100ntr\u2100l", "[bracket]", "[bracket", "br]acket["])
def test_address_that_cannot_be_taken_apart_is_told_without_its_password(
    environ: Environ, name: str, secret: str
) -> None:
    """`urlsplit` refuses some passwords that were not percent-encoded, and quotes them in its error."""
    scheme = {"REDIS_URL": "redis", "DATABASE_URL": "postgresql"}[name]
    (problem,) = problems_of(environ, **{name: f"{scheme}://ada:{secret}@localhost/0"})
    assert problem.startswith(f"{name}: ")
    assert secret.strip("[]") not in problem


def test_two_wrong_entries_of_a_list_are_one_problem(environ: Environ) -> None:
    """The sentence about the variable is told once."""
    assert len(problems_of(environ, BOT_ROLES="telegram,signal")) == 1
    assert len(problems_of(environ, ADMIN_USERS="ada,bob")) == 1


def test_error_has_no_cause_that_would_print_values(environ: Environ) -> None:
    """A traceback of the error shows nothing more than its sentences."""
    environ(SLACK_BOT_TOKEN="secret-value")
    with pytest.raises(ConfigError) as caught:
        load_settings(SETTINGS)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_wrong_settings_end_the_program_with_code_2(
    environ: Environ, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a problem on stderr, nothing else."""
    environ(HTTP_PORT="many", LOG_FORMAT="xml", SLACK_BOT_TOKEN="secret-value")
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert sorted(line.split(":")[0] for line in err.splitlines()) == [
        "HTTP_PORT",
        "LOG_FORMAT",
        "SLACK_BOT_TOKEN",
    ]
    assert "secret-value" not in out + err


def test_slack_over_http_needs_the_http_role(environ: Environ) -> None:
    """Nothing would take Slack's requests."""
    slack = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "sign"}
    assert any("BOT_ROLES" in each for each in problems_of(environ, BOT_ROLES="slack,worker", **slack))
    environ(BOT_ROLES="slack,http,worker", **slack)
    assert load_settings(SETTINGS).bot_roles == {"slack", "http", "worker"}


@pytest.mark.parametrize("roles", ["worker", "http", "slack,discord", "discord,worker"])
def test_any_roles_can_be_split_over_processes(environ: Environ, roles: str) -> None:
    """A process that only listens leaves the answers to those that work, and the other way round."""
    tokens = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1", "DISCORD_TOKEN": "x"}
    environ(BOT_ROLES=roles, **tokens)
    assert load_settings(SETTINGS).bot_roles == set(roles.split(","))


@pytest.mark.parametrize(
    "written",
    ["{", "[]", '{"m": [1]}', '{"m": [1, -1]}', '{"m": ["a", 1]}', '{"m": [NaN, 1]}', '{"m": [1e9, 1]}'],
)
def test_prices_that_cannot_be_read_are_told_with_an_example(environ: Environ, written: str) -> None:
    """Never as a trace, whatever is wrong with them."""
    (problem,) = problems_of(environ, MODEL_PRICES=written)
    assert problem.startswith("MODEL_PRICES: write the prices")


def test_a_budget_in_money_needs_the_price_of_each_model(environ: Environ) -> None:
    """Else what is spent could not be counted, and the budget would hold nobody back."""
    models = {"OPENAI_API_KEY": "sk-1", "OPENAI_MODEL": "big", "OPENAI_FALLBACK_MODEL": "small"}
    (problem,) = problems_of(environ, **models, BUDGET_TOTAL="5 USD", MODEL_PRICES='{"big": [1, 2.5]}')
    assert (
        problem
        == "MODEL_PRICES: add the price of 'small' (OPENAI_FALLBACK_MODEL), since BUDGET_TOTAL is in money"
    )
    environ(**models, BUDGET_TOTAL="5 USD", MODEL_PRICES='{"big": [1, 2.5], "small": [0, 0]}')
    assert load_settings(SETTINGS).currency == "USD"


def test_tokens_need_no_prices_and_the_offline_model_costs_nothing(environ: Environ) -> None:
    """There is nothing to be told about."""
    environ(OPENAI_API_KEY="sk-1", BUDGET_TOTAL="5000 tokens")
    assert {name: str(limit) for name, limit in load_settings(SETTINGS).budgets.items()} == {
        "BUDGET_TOTAL": "5,000 tokens"
    }
    environ(BUDGET_TOTAL="5 USD")
    assert load_settings(SETTINGS).budgets["BUDGET_TOTAL"].is_money


def test_budgets_have_one_currency(environ: Environ) -> None:
    """Prices have only one."""
    (problem,) = problems_of(environ, BUDGET_USER="1 EUR", BUDGET_TOTAL="5 USD")
    assert problem == "BUDGET_USER, BUDGET_TOTAL: use one currency for all, that of MODEL_PRICES"


def test_each_limit_is_explained(environ: Environ) -> None:
    """docs/access.md says of every list, rate and budget what it means."""
    explained = (DOCUMENT.parent / "access.md").read_text()
    assert [name for name in AccessSettings.model_fields if f"`{name.upper()}`" not in explained] == [
        "model_prices"
    ]
    assert "MODEL_PRICES={" in explained


@pytest.mark.parametrize("token", ["a", " ", "tok\n", " " * 20 + "a" * 15, "0123456789\n0123456789"])
def test_a_token_that_cannot_protect_or_be_sent_is_refused(environ: Environ, token: str) -> None:
    """The sentence says what a good one looks like, and never the token."""
    (problem,) = problems_of(environ, API_TOKEN=token)
    assert problem.startswith("API_TOKEN: must have at least 16 printable characters")
    assert "openssl rand" in problem


def test_a_token_is_taken_without_the_blanks_around_it(environ: Environ) -> None:
    environ(API_TOKEN="  0123456789abcdef\n")
    token = load_settings(SETTINGS).of(HttpSettings).api_token
    assert token is not None
    assert token.get_secret_value() == "0123456789abcdef"


@pytest.mark.parametrize(
    "channel", ["C012AB", "slack:U012AB", "slack:#approvals", "http:api", "discord:x", "slack:C1,slack:C2"]
)
def test_what_is_no_channel_for_approvals_is_refused(channel: str) -> None:
    """A person's id would look right, and be shown nothing."""
    with pytest.raises(ValueError, match="write one channel as slack:C012AB or discord:80351"):
        SETTINGS(_env_file=None, approvals_channel=channel)
    assert SETTINGS(_env_file=None, approvals_channel="discord:80351").approvals_channel


CHANNEL = '"channel": "slack:C012AB"'
SENDER = '"secret": "secret-of-the-sender"'


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("{", "write a JSON object"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        (f'{{"A b": {{{CHANNEL}, {SENDER}}}}}', "name it with"),
        (f'{{"a": {{{CHANNEL}, "secret": "too-short"}}}}', "a: secret: string should have at least 16"),
        (f'{{"a": {{{CHANNEL}}}}}', "a: secret: field required"),
        (f'{{"a": {{{CHANNEL}, {SENDER}, "tols": "all"}}}}', "a: tols: extra inputs"),
        (f'{{"a": {{{CHANNEL}, {SENDER}, "tools": "some"}}}}', "a: tools: input should be 'open' or 'all'"),
        (f'{{"a": {{"channel": "", {SENDER}}}}}', "a: channel: must not be empty"),
        (f'{{"a": {{"channel": "slack:T1/C1", {SENDER}}}}}', "a: channel: with SLACK_BOT_TOKEN write"),
        (f'{{"a": {{"channel": "slack:general", {SENDER}}}}}', "a: channel: write one channel as slack:"),
        (f'{{"a": {{"channel": "discord:1", {SENDER}}}}}', "a: channel: Discord is switched off"),
        (f'{{"a": {{"channel": "slack:C9", {SENDER}}}}}', "add it to ALLOWED_CHANNELS"),
    ],
)
def test_a_wrong_hook_is_told_with_its_name_and_without_its_secret(
    environ: Environ, value: str, advice: str
) -> None:
    slack = {name: SECRETS[name] for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN")}
    (problem,) = problems_of(environ, **slack, ALLOWED_CHANNELS="slack:C012AB", HOOKS=value)
    assert problem.startswith("HOOKS: ")
    assert advice in problem
    assert "secret-of-the-sender" not in problem
    assert "too-short" not in problem
