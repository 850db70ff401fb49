"""etc/lock: the versions that developers and Debian's package get, which are those that pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ASKED = {
    "run": PROJECT["dependencies"],
    "dev": PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"],
}


def entries(name: str) -> list[str]:
    text = (ROOT / f"etc/lock/{name}.lock").read_text()
    return re.findall(r"^[^\s#].*\n(?:\s.*\n)*", text, flags=re.MULTILINE)


def locked(name: str) -> dict[str, list[Requirement]]:
    """Package -> its entries, of which the markers choose one."""
    found: dict[str, list[Requirement]] = {}
    for entry in entries(name):
        requirement = Requirement(entry.partition("\\")[0])
        found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def versions(requirements: list[Requirement]) -> set[str]:
    return {str(requirement.specifier).removeprefix("==") for requirement in requirements}


@pytest.mark.parametrize("name", ASKED)
def test_a_lock_has_what_is_asked_for(name: str) -> None:
    found = locked(name)
    for asked in map(Requirement, ASKED[name]):
        got = versions(found.get(canonicalize_name(asked.name), []))
        assert got, f"{asked.name} is missing; run make lock"
        assert all(asked.specifier.contains(version) for version in got), f"{asked} and {got}; run make lock"


@pytest.mark.parametrize("name", ASKED)
def test_a_lock_is_whole(name: str) -> None:
    """What its packages need of each other is in it, too, as far as they are installed here."""
    found = locked(name)
    for package in found:
        try:
            needed = [Requirement(text) for text in requires(package) or []]
        except PackageNotFoundError:
            continue
        wanted = [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
        assert [one for one in wanted if canonicalize_name(one) not in found] == [], f"{package}; run make lock"


@pytest.mark.parametrize("name", ASKED)
def test_every_entry_is_one_version_with_hashes_and_names_no_server(name: str) -> None:
    for entry in entries(name):
        assert re.match(r"[a-z0-9-]+==\S+ ", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry
        assert "://" not in entry and "index-url" not in entry, entry


#: The first version without a hole by which a client could have got at penstock.
MENDED = {
    "h11": ("0.16.0", "CVE-2025-43859: a chunk may end in any two bytes"),
    "h2": ("4.3.0", "CVE-2025-57804: line ends in headers; clear-text HTTP/2 is refused besides"),
    "werkzeug": ("3.0.6", "CVE-2024-49767: forms are kept in memory without a bound; none is parsed besides"),
    "quart": ("0.19.7", "CVE-2024-49767"),
}


@pytest.mark.parametrize("package", MENDED)
def test_known_holes_are_behind_us(package: str) -> None:
    mended, hole = MENDED[package]
    for name in ASKED:
        assert all(Version(version) >= Version(mended) for version in versions(locked(name)[package])), hole


def test_developers_run_what_is_shipped() -> None:
    run, dev = locked("run"), locked("dev")
    assert {name: versions(run[name]) for name in run} == {name: versions(dev[name]) for name in run}
