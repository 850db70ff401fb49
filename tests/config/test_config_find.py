from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config.find import find


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Every place that can hold a file, none of them there yet."""
    found = {
        "xdg": tmp_path / "xdg/penstock/penstock.toml",
        "home": tmp_path / "home/.config/penstock/penstock.toml",
        "system": tmp_path / "etc/penstock.toml",
    }
    for path in found.values():
        path.parent.mkdir(parents=True)
    return found


@pytest.mark.parametrize(
    ("there", "xdg", "expected"),
    [
        (["xdg", "home", "system"], True, "xdg"),
        (["xdg", "home", "system"], False, "home"),
        (["home", "system"], True, "system"),
        (["system"], False, "system"),
        ([], True, None),
    ],
)
def test_the_users_file_comes_before_the_systems(
    there: list[str], xdg: bool, expected: str | None, places: dict[str, Path], tmp_path: Path
) -> None:
    for name in there:
        places[name].touch()
    environ = {"HOME": str(tmp_path / "home")} | ({"XDG_CONFIG_HOME": str(tmp_path / "xdg")} if xdg else {})
    assert find(environ, places["system"]) == (places[expected] if expected else None)


def test_a_named_file_is_taken_even_if_it_is_not_there(places: dict[str, Path], tmp_path: Path) -> None:
    places["home"].touch()
    environ = {"HOME": str(tmp_path / "home"), "PENSTOCK_CONFIG": "/no/such/file"}
    assert find(environ, places["system"]) == Path("/no/such/file")
    assert find(environ | {"PENSTOCK_CONFIG": ""}, places["system"]) == places["home"]


def test_a_relative_xdg_directory_is_ignored(places: dict[str, Path], tmp_path: Path) -> None:
    places["home"].touch()
    assert find({"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": "xdg"}, places["system"]) == places["home"]


def test_without_a_home_only_the_systems_is_left(places: dict[str, Path]) -> None:
    assert find({}, places["system"]) is None
    places["system"].touch()
    assert find({}, places["system"]) == places["system"]
