from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from penstock.cli.main import main

GOOD = """
[server]
listen = ["127.0.0.1:11435", "unix:/run/p.sock"]
[backends.ollama]
kind = "ollama"
url = "http://127.0.0.1:11434"
[backends.cloud]
kind = "openai"
url = "https://api.example.com/v1"
api_key = "sk-very-secret"
slots = 4
[routes]
"*" = ["ollama"]
coder = { targets = ["ollama/qwen2.5-coder:7b", "cloud/coder"], class = "agent" }
"""

BAD = """\
[server]
drain = "10x"

[routes]
"*" = ["olama"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "penstock.toml"


def check(*args: str | Path, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    result = CliRunner().invoke(main, ["check", *map(str, args)], env=env)
    return result.exit_code, result.stdout, result.stderr


def test_a_good_file_is_summed_up(file: Path) -> None:
    file.write_text(GOOD)
    assert check(file) == (
        0,
        f"""\
{file}: ok
listen    127.0.0.1:11435, unix:/run/p.sock
backends  ollama  ollama, http://127.0.0.1:11434, 1 slot
          cloud   openai, https://api.example.com/v1, 4 slots
routes    *      ollama (chat)
          coder  ollama/qwen2.5-coder:7b, cloud/coder (agent)
""",
        "",
    )


def test_a_log_of_prompts_is_loud(file: Path) -> None:
    file.write_text("[server]\nlog_content = true\n")
    _, told, _ = check(file)
    assert "log       prompts and answers are logged: server.log_content is true" in told.splitlines()


def test_an_empty_file_is_good(file: Path) -> None:
    file.touch()
    assert check(file) == (0, f"{file}: ok\nlisten    127.0.0.1:11435\nbackends  none\nroutes    none\n", "")


def test_all_faults_are_told_with_line_and_caret(file: Path) -> None:
    file.write_text(BAD)
    assert check(file) == (
        78,
        "",
        f"""\
{file}:2:9: server.drain: "10x" is no duration; write "250ms", "90s", "5m", "1h30m" or a number of seconds
    drain = "10x"
            ^
{file}:5:8: routes."*"[0]: no backend is called "olama"; there are none
    "*" = ["olama"]
           ^
2 faults
""",
    )


def test_a_file_that_is_not_there(file: Path) -> None:
    assert check(file) == (78, "", f"{file}: cannot be read: No such file or directory\n")


def test_without_a_name_the_file_of_serve_is_checked(file: Path) -> None:
    file.write_text(BAD)
    status, _, stderr = check(env={"PENSTOCK_CONFIG": str(file)})
    assert status == 78
    assert stderr.startswith(f"{file}:2:9: ")
