"""The name of a process decides whose unfinished work it takes back."""

import re
from pathlib import Path

import pytest

from bot.chat import CredentialsRejected
from bot.inbox.process_name import process_name


def test_name_is_the_same_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From wherever the directory is named, in characters that Redis keys and logs take."""
    monkeypatch.chdir(tmp_path)
    with process_name("", Path("data")) as first:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", first)
    with process_name("", tmp_path / "data" / ".." / "data") as second:
        assert second == first


def test_name_is_what_the_operator_says(tmp_path: Path) -> None:
    """BOT_NAME wins, and needs no directory."""
    with process_name("worker_1", tmp_path / "none") as name:
        assert name == "worker_1"
    assert not (tmp_path / "none").exists()


def test_two_processes_on_one_directory_have_two_names(tmp_path: Path) -> None:
    """They would take each other's turns away; a number that is free again is used again."""
    with process_name("", tmp_path) as first:
        with process_name("", tmp_path) as second:
            assert second != first
        with process_name("", tmp_path) as third:
            assert third == second


@pytest.mark.parametrize(("one", "other"), [("a/b", "a-b"), ("ä", "ö"), ("a", "b")])
def test_two_directories_give_two_names(tmp_path: Path, one: str, other: str) -> None:
    """Also where the characters that make the difference are left out of the name."""
    with process_name("", tmp_path / one) as first, process_name("", tmp_path / other) as second:
        assert first != second


def test_a_directory_that_cannot_be_written_to_is_told_with_the_settings_that_help(tmp_path: Path) -> None:
    """As where a container has no place to write, and both servers are elsewhere."""
    (tmp_path / "file").touch()  # a folder's permissions would not stop root
    with (
        pytest.raises(CredentialsRejected, match=r"^DATA_DIR=.*: set another directory, or BOT_NAME$"),
        process_name("", tmp_path / "file" / "data"),
    ):
        pass
