"""Starts as the person at the terminal sees them: checked first, explained, and ended without a trace."""

import asyncio
import importlib.machinery
import importlib.util
import json
import signal
import ssl
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import pytest
import trustme

from bot.chat import StorageDown
from bot.config import ConfigError, load_settings, summary, unknown_names
from bot.http.adapter import HttpSettings
from bot.http.platform import local_address
from bot.main import SETTINGS, loop_factory
from bot.storage.client import check_redis, open_redis
from bot.storage.embedded import embedded_redis
from bot.storage.health import RedisHealth
from tests.servers.model import KEY, ModelServer
from tests.servers.slack.service import Slack
from tests.support.bot import ROOT, fork_program, program
from tests.support.wait import wait_until

HEAVY = {
    "aiohttp",
    "asyncpg",
    "discord",
    "langchain_core",
    "langgraph",
    "matplotlib",
    "openai",
    "redis",
    "slack_bolt",
}


# --- the event loop


def test_the_event_loop_is_that_of_uvloop_if_it_is_installed_and_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uvloop = pytest.importorskip("uvloop")
    chosen = SETTINGS(_env_file=None)
    assert loop_factory(chosen) is uvloop.new_event_loop
    assert loop_factory(SETTINGS(_env_file=None, event_loop="asyncio")) is None
    monkeypatch.setitem(sys.modules, "uvloop", None)  # its import fails
    assert loop_factory(chosen) is None


# --- before anything heavy


async def python(*arguments: str, **environ: str) -> tuple[int | None, str]:
    """Run Python with only these variables set; returns its exit code and what it wrote."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=environ, stdout=PIPE, stderr=PIPE
    )
    output, errors = await child.communicate()
    return child.returncode, (output + errors).decode()


async def test_settings_are_checked_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    """The first line does not wait for seconds of imports."""
    code, output = await python(
        "-X", "importtime", "-m", "bot", HTTP_PORT="70000", DATA_DIR=str(tmp_path), HOME=str(tmp_path)
    )
    assert code == 2
    assert "HTTP_PORT: " in output
    assert "pydantic" in imported_in(output)
    assert not HEAVY & imported_in(output)


async def test_the_first_line_comes_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    """With settings that are right: nothing was printed for 6 to 13 seconds."""
    nobody = "redis://127.0.0.1:9/0"
    code, output = await python(
        "-X", "importtime", "-m", "bot", REDIS_URL=nobody, DATA_DIR=str(tmp_path), HOME=str(tmp_path)
    )
    assert code == 2
    first, _, after = output.partition("starting")
    assert not HEAVY & imported_in(first)
    assert imported_in(after) >= {"aiohttp", "langgraph", "redis"}


def imported_in(output: str) -> set[str]:
    """The packages that `-X importtime` has told of."""
    timed = [line for line in output.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in timed}


async def test_a_python_without_the_packages_says_how_to_start() -> None:
    """`python -m bot inbox` outside of the environment."""
    code, output = await python("-S", "-m", "bot", "inbox")
    assert code == 2
    assert "Use ./dev run" in output
    assert "Traceback" not in output


async def test_ctrl_c_while_it_starts_leaves_no_trace(tmp_path: Path) -> None:
    """Between the first line and the loop there is nothing to clean up."""
    async with program({"DATA_DIR": str(tmp_path)}) as bot:
        await wait_until(lambda: bool(bot.log_lines("starting")), "the first line")
        bot.process.send_signal(signal.SIGINT)
        assert await bot.wait_for_end() in (-signal.SIGINT, 0, 1)
    assert not any("Traceback" in line for line in bot.output)


async def test_an_unexpected_error_at_start_is_a_line_of_the_log_without_secrets(own: dict[str, str]) -> None:
    """With its trace; Python itself would print it as it is."""
    fail = """
import bot.composition, bot.main

async def serve(settings, servers, platforms):
    raise ValueError("cannot use " + settings.api_token.get_secret_value())

bot.composition.serve = serve
raise SystemExit(bot.main.main(["run"]))
"""
    token = "a-token-of-sixteen"
    code, output = await python("-c", fail, **own, API_TOKEN=token, LOG_FORMAT="json")
    assert code == 1
    line = json.loads(output.splitlines()[-1])
    assert line["event"] == "stopped by an unexpected error"
    assert "ValueError: cannot use ***" in line["exception"]
    assert token not in output


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
async def test_no_other_process_of_the_user_may_read_the_memory_of_the_bot(own: dict[str, str]) -> None:
    """The kernel gives out neither memory nor environment of a process that is not dumpable."""
    served = """
import ctypes, sys, types
async def serve(settings, servers, platforms): print("dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
sys.modules["bot.composition"] = types.SimpleNamespace(serve=serve)
import bot.main
sys.exit(bot.main.main([]))
"""
    code, output = await python("-c", served, **own)
    assert code == 0
    assert output.splitlines().count("dumpable 0") == 1, output


# --- names that are not settings


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path that `.env` would have; the environment holds no setting."""
    for name in SETTINGS.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SLACK_BOT_TOKN", "SLACK_BOT_TOKEN"),
        ("OPENAI_APIKEY", "OPENAI_API_KEY"),
        ("openai_apikey", "OPENAI_API_KEY"),
        ("DISCORD_BOT_TOKEN", "DISCORD_TOKEN"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("ALLOWED_USER", "ALLOWED_USERS"),
        ("REDISURL", "REDIS_URL"),
        ("HTTP_PROXY", ""),
        ("LOG_LEVEL", ""),
        ("PATH_INFO", ""),
        ("X" * 100_000, ""),
    ],
)
def test_a_misspelled_setting_is_named_with_what_was_meant(
    env_file: Path, monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    """In the environment only what resembles a setting is spoken of; in `.env` every unknown name."""
    monkeypatch.setenv(name, "a-secret")
    assert [(each.name, each.suggestion) for each in unknown_names(SETTINGS)] == (
        [(name, meant)] if meant else []
    )
    monkeypatch.delenv(name)
    env_file.write_text(f"{name}=a-secret\n")
    assert [(each.name, each.suggestion) for each in unknown_names(SETTINGS)] == [(name, meant)]


def test_a_name_like_a_setting_that_is_set_belongs_to_something_else(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine may have DATABASE_URI for another program."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/shop")
    monkeypatch.setenv("DATABASE_URI", "postgresql://localhost/other")
    assert unknown_names(SETTINGS) == []


def test_a_line_of_the_env_file_that_cannot_be_read_is_reported_once_with_its_number(env_file: Path) -> None:
    env_file.write_text("# fine\nHTTP_PORT=8081\nexport a secret value\n\nDEBUG=true\nalso wrong\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(SETTINGS)
    told = caught.value.problems
    assert [each.partition(":")[0] for each in told] == [".env, line 3", ".env, line 6"]
    assert "secret" not in "".join(told)


def test_a_line_of_the_env_file_that_is_no_name_and_value_is_told_by_its_number(env_file: Path) -> None:
    """It may be a piece of a key of several lines, or a token alone: never told as the name of a variable."""
    env_file.write_text("DEBUG=true\nsk-a-secret\nMII/secret+x==\n\nHTTP_PORT=8081\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(SETTINGS)
    assert [each.partition(":")[0] for each in caught.value.problems] == [".env, line 2", ".env, line 3"]
    assert "secret" not in f"{caught.value.problems} {unknown_names(SETTINGS)}"


def test_an_env_file_may_begin_with_a_byte_order_mark(env_file: Path) -> None:
    """As editors on Windows write it: the first setting was ignored."""
    env_file.write_text("HTTP_PORT=8081\n", encoding="utf-8-sig")
    assert load_settings(SETTINGS).of(HttpSettings).http_port == 8081
    assert unknown_names(SETTINGS) == []


def test_a_variable_that_another_one_refers_to_is_not_called_ignored(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a value of `.env`, or in MCP_SERVERS wherever that is."""
    env_file.write_text(
        "SHOP_PASSWORD=x\nWIKI=y\nDATABASE_URL=postgresql://ada:${SHOP_PASSWORD}@localhost/shop\n"
    )
    assert [each.name for each in unknown_names(SETTINGS)] == ["WIKI"]
    monkeypatch.setenv("MCP_SERVERS", '{"wiki": {"command": "x", "env": {"T": "${WIKI}"}}}')
    assert unknown_names(SETTINGS) == []


@pytest.mark.parametrize("kind", ["a folder", "not text"])
def test_an_env_file_that_cannot_be_read_is_reported(env_file: Path, kind: str) -> None:
    if kind == "a folder":
        env_file.mkdir()
    else:
        env_file.write_bytes(b"DEBUG=\xff\xfe")
    with pytest.raises(ConfigError, match=r"^\.env: this file cannot be read: "):
        load_settings(SETTINGS)


async def test_the_program_names_misspelled_settings_at_start(tmp_path: Path) -> None:
    """Beside the problems that they cause, and without their values."""
    environ = {"DATA_DIR": str(tmp_path), "SLACK_BOT_TOKN": "xoxb-secret", "SLACK_APP_TOKEN": "xapp-1"}
    async with program(environ) as bot:
        assert await bot.wait_for_end() == 2
    assert "SLACK_BOT_TOKN: not a setting (environment); did you mean SLACK_BOT_TOKEN?" in bot.output
    assert not any("xoxb-secret" in line for line in bot.output)


# --- what is on, missing, and to be done next


def lines_of(**values: Any) -> dict[str, str]:
    text = summary(SETTINGS(_env_file=None, **values), "http://127.0.0.1:8080/")
    assert max(map(len, text.splitlines())) < 80
    rows, _, missing = text.partition("To connect more")
    named = {line.split()[0]: line[12:] for line in rows.splitlines() if line.startswith("  ")}
    return named | {"missing": missing}


def test_summary_of_a_start_says_what_is_missing_and_how_to_add_it(env_file: Path) -> None:
    told = lines_of()
    assert next(iter(told.items())) == ("Page", "http://127.0.0.1:8080/")
    assert "demonstration" in told["Model"]
    assert (told["Slack"], told["Discord"]) == ("off", "off")
    assert "REDIS_URL" in told["Redis"]
    assert "sample data" in told["Changes"]
    for name in ("OPENAI_API_KEY", "SLACK_BOT_TOKEN", "DISCORD_TOKEN", "DATABASE_URL", "Ctrl-C"):
        assert name in told["missing"]
    assert "SQL_WRITES" in lines_of(sql_writes="off")["Changes"]


def test_summary_of_a_start_says_what_is_on(env_file: Path) -> None:
    told = lines_of(
        openai_api_key="sk-secret-key",
        openai_model="big",
        openai_fallback_model="small",
        slack_bot_token="xoxb-secret",
        slack_signing_secret="secret-signature",
        discord_token="secret-token",
        redis_url="redis://:secret@localhost",
        sql_writes="approval",
        approvers="slack:U1",
    )
    assert told["Model"] == "big, then small"
    assert told["Slack"] == "on, by HTTP at /slack/events"
    assert told["Discord"] == "on"
    assert told["Redis"] == "REDIS_URL"
    assert "approval" in told["Changes"]
    assert "secret" not in "".join(told.values())


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("0.0.0.0", "http://127.0.0.1:80/"),
        ("::", "http://[::1]:80/"),
        ("::1", "http://[::1]:80/"),
        ("localhost", "http://localhost:80/"),
    ],
)
def test_the_address_of_the_page_is_one_that_a_browser_takes(host: str, address: str) -> None:
    assert local_address(host, 80) == address


async def test_a_page_that_is_not_served_is_not_announced(own: dict[str, str], slack: Slack) -> None:
    """Beside Slack's webhook it needs a token: the summary says so, and gives the address with one."""
    by_http = {name: value for name, value in slack.environ.items() if name != "SLACK_APP_TOKEN"}
    environ = {**own, **by_http, "SLACK_SIGNING_SECRET": "a-signing-secret", "LOG_FORMAT": "console"}
    for token, told in (
        ({}, "off, except for /slack/…; set API_TOKEN"),
        ({"API_TOKEN": "t" * 16}, "http://127"),
    ):
        async with fork_program({**environ, **token}) as bot:
            await wait_until(
                lambda: any(line.startswith("Stop it") for line in bot.output), "the summary", timeout=40
            )
            assert await bot.stop() == 0
        assert any(line.startswith(f"  Page      {told}") for line in bot.output)


async def test_a_start_prints_the_summary_for_people_only(own: dict[str, str]) -> None:
    """With LOG_FORMAT=console; the address of the page works."""
    async with fork_program({**own, "LOG_FORMAT": "console"}) as bot:
        await wait_until(
            lambda: any(line.startswith("Stop it") for line in bot.output), "the summary", timeout=40
        )
        assert await bot.stop() == 0
    assert any(line.startswith("  Page      http://127.0.0.1:") for line in bot.output)


@pytest.fixture
def own(tmp_path: Path, database_url: str, redis_url: str) -> dict[str, str]:
    return {"DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": database_url, "REDIS_URL": redis_url}


# --- services in the way


async def test_a_key_that_the_model_service_refuses_ends_the_start(
    own: dict[str, str], model: ModelServer
) -> None:
    """With one line that names the variable and not the key."""
    wrong = "sk-wrong-key-0123456789"
    of_model = {"OPENAI_API_KEY": wrong, "OPENAI_BASE_URL": model.base_url}
    async with fork_program({**own, **of_model}) as bot:
        assert await bot.wait_for_end() == 2
    told = [line for line in bot.output if not line.startswith("{")]
    assert len(told) == 1
    assert told[0].startswith("OPENAI_API_KEY: ")
    assert not any(wrong in line for line in bot.output)


async def test_a_model_that_its_service_does_not_list_is_logged_at_start(
    own: dict[str, str], model: ModelServer
) -> None:
    of_model = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": model.base_url, "OPENAI_MODEL": "mian-model"}
    async with fork_program({**own, **of_model}) as bot:
        await bot.ready()
        assert bot.log_lines("model not listed by its service")[0]["model"] == "mian-model"
        assert await bot.stop() == 0


@asynccontextmanager
async def tcp(unix_url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Redis' Unix socket at a TCP port, with TLS or without."""
    socket = unix_url.removeprefix("unix://").partition("?")[0]

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = await asyncio.open_unix_connection(socket)
        await asyncio.gather(pass_on(reader, down), pass_on(up, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


async def refusal_of(url: str) -> str:
    with pytest.raises(StorageDown) as caught:
        await check_redis(url)
    return str(caught.value)


async def test_each_way_in_which_redis_refuses_names_the_setting_that_helps(tmp_path: Path) -> None:
    """A missing password, TLS against plain and the reverse, a CA of one's own, nobody there."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    async with (
        embedded_redis(tmp_path / "data") as url,
        open_redis(url, pool_size=4) as client,
        tcp(url) as plain,
        tcp(url, tls) as secure,
    ):
        await check_redis(f"rediss://127.0.0.1:{secure}/0?ssl_ca_certs={quote(str(ca))}")
        assert "?ssl_ca_certs=/path/to/ca.pem" in await refusal_of(f"rediss://127.0.0.1:{secure}/0")
        assert "write redis:// instead of rediss://" in await refusal_of(f"rediss://127.0.0.1:{plain}/0")
        assert "write rediss://" in await refusal_of(f"redis://127.0.0.1:{secure}/0")
        await client.config_set("requirepass", "pass")
        for login in ("", ":wrong@"):
            told = await refusal_of(f"redis://{login}127.0.0.1:{plain}/0")
            assert "redis://user:password@host:port/0" in told
            assert "wrong:" not in told
        await check_redis(f"redis://:pass@127.0.0.1:{plain}/0")
        await client.config_set("requirepass", "")
    assert "start it, or correct the address" in await refusal_of("redis://127.0.0.1:9/0")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("rediss://:pass-word@127.0.0.1:9/0?ssl_ca_cert=/ca.pem", "'ssl_ca_cert'"),
        ("redis://:pass-word@127.0.0.1:9/0?socket_timeout=soon", "'socket_timeout'"),
        ("rediss://:pass-word@127.0.0.1:9/0?ssl_ca_certs=/no/such/ca.pem", "does not exist"),
        ("rediss://:pass-word@127.0.0.1:9/0?ssl_cert_reqs=maybe", "Flag: maybe"),
    ],
)
async def test_an_option_of_the_address_of_redis_that_is_not_right_is_told(address: str, told: str) -> None:
    """A near miss of `ssl_ca_certs` was a trace of redis-py."""
    sentence = await refusal_of(address)
    assert sentence.startswith("REDIS_URL: ")
    assert told in sentence
    assert "pass-word" not in sentence


async def test_a_redis_that_keeps_nothing_is_degraded(tmp_path: Path) -> None:
    """Neither append-only file nor snapshots: a restart loses all."""
    async with embedded_redis(tmp_path) as url, open_redis(url, pool_size=4) as client:
        redis = RedisHealth(client)
        assert (await redis.health()).state == "ok"
        await client.config_set("appendonly", "no")
        await client.config_set("save", "")
        health = await redis.health()
        assert health.state == "degraded"
        assert "appendonly" in str(health.evidence["advice"])
        await client.config_set("save", "60 1000")
        assert (await redis.health()).state == "ok"


# --- ./dev


@pytest.fixture
def dev() -> ModuleType:
    """`./dev` as a module."""
    loader = importlib.machinery.SourceFileLoader("dev", str(ROOT / "dev"))
    spec = importlib.util.spec_from_loader("dev", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_a_clone_that_cannot_be_written_to_is_reported_as_that(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not as a missing package of the system."""
    (tmp_path / "clone").touch()  # a folder's permissions would not stop root
    monkeypatch.setattr(dev, "VENV", tmp_path / "clone" / ".venv")
    with pytest.raises(SystemExit, match="is not writable"):
        dev.make_venv()


def test_uv_trusts_the_certificate_authority_that_pip_trusts(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(dev, "pip_setting", lambda name: "/etc/pip-ca.pem" if name == "global.cert" else "")
    assert dev.with_pip_certificate()["SSL_CERT_FILE"] == "/etc/pip-ca.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/requests-ca.pem")
    assert dev.with_pip_certificate()["SSL_CERT_FILE"] == "/etc/requests-ca.pem"
    monkeypatch.setenv("PIP_CERT", "/etc/own-ca.pem")
    assert dev.with_pip_certificate()["SSL_CERT_FILE"] == "/etc/own-ca.pem"


def test_run_installs_no_tools_and_keeps_those_that_are_there(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stamp tells which locks are installed."""
    installed: list[object] = []
    monkeypatch.setattr(dev, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(dev, "VENV", tmp_path)
    monkeypatch.setattr(dev, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(dev, "make_venv", lambda: None)
    monkeypatch.setattr(dev, "run", lambda *command, env=None: installed.append(command[-1]))
    dev.make_environment(with_tools=False)
    assert installed[-1] == dev.LOCK
    dev.make_environment(with_tools=True)
    assert installed[-1] == dev.TOOLS_LOCK
    count = len(installed)
    dev.make_environment(with_tools=False)
    dev.make_environment(with_tools=True)
    assert len(installed) == count


def test_both_locks_agree_and_the_tools_are_in_one_only() -> None:
    """The tests run with the packages that the bot runs with."""

    def pinned(name: str) -> set[str]:
        lines = (ROOT / name).read_text().splitlines()
        return {line.partition(" ")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}

    run, tools = pinned("requirements.lock"), pinned("requirements-dev.lock")
    assert run < tools
    assert {each.partition("==")[0] for each in tools - run} >= {"pytest", "mypy", "ruff", "uv", "hypothesis"}
