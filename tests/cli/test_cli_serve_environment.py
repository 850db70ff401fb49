"""The environment reaches a daemon that has no file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


def test_a_demo_listens_where_the_environment_says(tmp_path: Path) -> None:
    environ = {**os.environ, "HOME": str(tmp_path), "PENSTOCK__SERVER__LISTEN": f'["unix:{tmp_path}/s"]'}
    command = [sys.executable, "-m", "penstock", "serve", "--demo"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.terminate()
        assert process.wait(timeout=60) == 0
        process.stderr.read()
    assert re.search(rf"listening .*addresses=unix:{re.escape(str(tmp_path))}/s ", line)
    assert "configuration='none, a simulated backend' backends=demo" in line
