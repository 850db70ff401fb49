"""What the doctor says of the service, by what systemctl shows of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.config.load import read
from penstock.service.examine import Examination

#: Shows what stands in a file called after the manager and the unit.
SYSTEMCTL = """#!/bin/sh
manager=system
[ "$1" = --user ] && manager=user && shift
cat "$SHOWN/$manager-$2" 2>/dev/null || echo LoadState=not-found
"""
ACTIVE = "LoadState=loaded\nActiveState=active\nResult=success\nExecMainStatus=0\nStatusText=2 streams; a = b\n"
FAILED = "LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainStatus=78\nStatusText=\n"
AGAIN = "LoadState=loaded\nActiveState=activating\nResult=watchdog\nExecMainStatus=6\nStatusText=\n"
RESTS = "LoadState=loaded\nActiveState=inactive\nResult=success\nExecMainStatus=0\nStatusText=\n"


@pytest.mark.parametrize(
    ("shown", "findings"),
    [
        ({}, []),
        ({"user-penstock.service": ACTIVE}, [("ok", "penstock.service of the user is active: 2 streams; a = b", "")]),
        (
            {"system-penstock.service": FAILED},
            [
                (
                    "fault",
                    "penstock.service of the system is failed (exit-code, exit status 78)",
                    'look into "journalctl -e -u penstock"',
                )
            ],
        ),
        (
            {"user-penstock.service": AGAIN},
            [
                (
                    "fault",
                    "penstock.service of the user is activating (watchdog, exit status 6)",
                    'look into "journalctl --user -e -u penstock"',
                )
            ],
        ),
        (
            {"system-penstock.service": RESTS, "system-penstock.socket": "ActiveState=active\n"},
            [("ok", "penstock.service of the system starts with the first connection", "")],
        ),
        (
            {"system-penstock.service": RESTS, "user-penstock.service": ACTIVE},
            [
                (
                    "warning",
                    "penstock.service of the system is installed and does not run",
                    'run "systemctl start penstock"',
                ),
                ("ok", "penstock.service of the user is active: 2 streams; a = b", ""),
            ],
        ),
    ],
    ids=["not installed", "active", "failed", "restarting", "its socket waits", "one of two runs"],
)
async def test_the_service(
    shown: dict[str, str],
    findings: list[tuple[str, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SHOWN", str(tmp_path))
    for name, text in shown.items():
        (tmp_path / name).write_text(text)
    file = tmp_path / "penstock.toml"
    file.write_text('[server]\nlisten = ["127.0.0.1:0"]\n[backends.a]\nkind = "ollama"\nurl = "http://127.0.0.1:1"\n')
    examination = Examination(read(file, {}), {}, 1.0)
    await examination.run()
    told = [(each.state, each.text, each.todo) for each in examination.findings if each.subject == "service"]
    assert told == findings


async def test_without_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    examination = Examination(read(None, {}), {}, 1.0)
    await examination._units()
    assert examination.findings == []
