"""systemd/penstock.catalog: what ``journalctl -x`` says to each kind of event."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from penstock.cli.units import CATALOGUE, MARK, shipped
from penstock.observe.journal import KINDS, NAMES

TEXT = (shipped() / CATALOGUE.name).read_text()
ENTRIES = dict(re.findall(r"^-- ([0-9a-f]{32})\n((?:(?!-- ).*\n)*)", TEXT, flags=re.MULTILINE))


def test_every_kind_of_event_has_an_entry_and_no_other_has() -> None:
    assert list(ENTRIES) == list(KINDS.values())
    assert TEXT.startswith(MARK)


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_is_whole(kind: str) -> None:
    head, _, body = ENTRIES[KINDS[kind]].partition("\n\n")
    titles = [line.partition(": ")[0] for line in head.splitlines()]
    assert titles[:3] == ["Subject", "Defined-By", "Support"]
    assert set(titles[3:]) <= {"Documentation"}
    assert body.strip()
    assert all(len(line) <= 80 for line in body.splitlines())
    fields = re.findall(r"@(\w+)@", head + body)
    assert [field for field in fields if field not in NAMES.values() and not field.startswith("PENSTOCK_")] == []


@pytest.mark.skipif(not shutil.which("journalctl"), reason="needs journalctl, of Debian's package systemd")
def test_journald_takes_it(tmp_path: Path) -> None:
    folder = tmp_path / "usr/lib/systemd/catalog"
    folder.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(shipped() / CATALOGUE.name, folder)

    def catalogue(*words: str) -> str:
        command = ["journalctl", f"--root={tmp_path}", *words]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return result.stdout + result.stderr

    assert catalogue("--update-catalog") == ""
    listed = catalogue("--list-catalog").splitlines()
    assert sorted(line.split()[0] for line in listed) == sorted(KINDS.values())
    assert all(line.split(" ", 1)[1].startswith("penstock: ") for line in listed)
