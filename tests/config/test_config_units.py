from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("5m", 300.0),
        ("250ms", 0.25),
        ("1h30m", 5400.0),
        ("1h", 3600.0),
        ("1.5s", 1.5),
        ("0s", 0.0),
        ("1h2m3s4ms", 3723.004),
        ("0.1ms", 0.0001),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "90", "s", "5 m", " 5m", "5m\n", "-5s", "+5s", "5M", "5min", "1m1h", "1s1s", ".5s", "5.s", "1e3s", "٥s"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


def test_a_duration_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration("9" * 400 + "h")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (90.0, "90s"),
        (300.0, "5m"),
        (1800.0, "30m"),
        (7200.0, "2h"),
        (0.25, "250ms"),
        (1.5, "1500ms"),
        (0.0, "0s"),
        (0.0001, "0.0001s"),
        (1e20, "100000000000000000000s"),
    ],
)
def test_a_duration_is_written(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(min_value=0, max_value=1e12))
def test_a_written_duration_reads_back(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("64KiB", 65536), ("16MiB", 16 << 20), ("1GiB", 1 << 30), ("512B", 512), ("0B", 0)]
)
def test_a_size_is_read_and_written(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("512KB", '"512KB" is no size; did you mean "512KiB"?'),
        ("16mib", '"16mib" is no size; did you mean "16MiB"?'),
        ("5 G", '"5 G" is no size; did you mean "5GiB"?'),
        ("big", '"big" is no size; write "64KiB", "16MiB" or a number of bytes'),
        ("1.5MiB", '"1.5MiB" is no size; write "64KiB", "16MiB" or a number of bytes'),
        ("", '"" is no size; write "64KiB", "16MiB" or a number of bytes'),
        ("1000", '"1000" is no size; write "64KiB", "16MiB" or a number of bytes'),
    ],
)
def test_what_is_no_size_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        parse_size(text)
    assert str(refusal.value) == message


@given(st.integers(min_value=0, max_value=10**17))
def test_a_written_size_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size
