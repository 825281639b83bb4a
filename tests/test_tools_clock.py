"""The clock tool."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.tools.clock import current_time
from bot.tools.errors import ToolFailure


def time_in(zone: str | None) -> datetime:
    """The moment in what the tool says."""
    _weekday, date, time, *_ = current_time(zone).split(" ")
    return datetime.fromisoformat(f"{date} {time}")


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "Asia/Kathmandu", " America/New_York "])
def test_it_is_now_in_every_zone(zone: str | None) -> None:
    """The moment is the same wherever the clock hangs."""
    assert abs(time_in(zone) - datetime.now(UTC)) < timedelta(seconds=5)


def test_zone_is_applied_and_named() -> None:
    """A model sees weekday, offset, zone and week."""
    assert time_in("Asia/Kathmandu").utcoffset() == timedelta(hours=5, minutes=45)
    now = datetime.now(UTC)
    assert current_time("UTC").startswith(f"{now:%A} {now:%Y}-")
    assert "(Asia/Kathmandu, ISO week " in current_time("Asia/Kathmandu")


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("America/Sao Paolo", "America/Sao_Paulo"),
    ],
)
def test_unknown_zone_gets_suggestions(zone: str, meant: str) -> None:
    """The failure names the zone that was probably meant."""
    with pytest.raises(ToolFailure, match=f"Did you mean .*{meant}"):
        current_time(zone)


@given(st.one_of(st.text(min_size=1), st.sampled_from(["America", "..", "../../etc/passwd", "/etc/passwd"])))
def test_any_zone_is_a_time_or_a_failure(zone: str) -> None:
    """Paths, directories and other nonsense end in words for the model, never in another exception."""
    try:
        said = current_time(zone)
    except ToolFailure as error:
        said = str(error)
    assert len(said) < 400
