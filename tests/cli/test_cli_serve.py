from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from penstock.cli.main import main
from penstock.config.model import Config
from penstock.errors import ConfigError, ConnectFailed, PenstockError


class FakeService(ModuleType):
    """Stands in for ``penstock.service.daemon``: notes how it was run, and ends as it is told to."""

    def __init__(self) -> None:
        super().__init__("penstock.service.daemon")
        self.runs: list[tuple[Config | None, Path | None, bool]] = []
        self.end: int | PenstockError = 0

    def run(self, config: Config | None, source: Path | None, demo: bool) -> int:
        self.runs.append((config, source, demo))
        if isinstance(self.end, PenstockError):
            raise self.end
        return self.end


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    fake = FakeService()
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    return fake


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "penstock.toml"
    path.write_text("[server]\ndrain = 3\n")
    return path


def serve(*args: str | Path, **env: str) -> Result:
    return CliRunner().invoke(main, ["serve", *map(str, args)], env=env)


def test_the_file_is_read_and_handed_over(service: FakeService, file: Path) -> None:
    assert serve("--config", file, PENSTOCK_CONFIG="/no/such").exit_code == 0
    ((config, source, demo),) = service.runs
    assert config is not None
    assert (config.server.drain, source, demo) == (3.0, file, False)


def test_the_environment_names_a_file(service: FakeService, file: Path) -> None:
    assert serve(PENSTOCK_CONFIG=str(file)).exit_code == 0
    assert service.runs[0][1] == file


def test_a_demo_looks_for_no_file(service: FakeService, file: Path) -> None:
    assert serve("--demo", PENSTOCK_CONFIG=str(file)).exit_code == 0
    assert serve("--demo", "--config", file).exit_code == 0
    assert [(source, demo) for _, source, demo in service.runs] == [(None, True), (file, True)]


def test_a_faulty_file_starts_nothing(service: FakeService, file: Path) -> None:
    file.write_text("drain = 3")
    result = serve("--config", file)
    assert (result.exit_code, service.runs) == (78, [])
    assert result.stderr == (
        f"{file}:1:1: drain: unknown key; known: server, timeouts, limits, backends, routes, keys\n"
        "    drain = 3\n    ^\n"
    )


@pytest.mark.parametrize(
    ("end", "status", "stderr"),
    [
        (0, 0, ""),
        (3, 3, ""),
        (
            ConfigError(["secret 'env:KEY': the environment variable is not set"]),
            78,
            "secret 'env:KEY': the environment variable is not set\n",
        ),
        (ConnectFailed("no backend answers"), 1, "Error: no backend answers\n"),
    ],
    ids=["asked to stop", "status", "configuration", "other"],
)
def test_the_exit_status_says_how_it_ended(
    end: int | PenstockError, status: int, stderr: str, service: FakeService, file: Path
) -> None:
    service.end = end
    result = serve("--config", file)
    assert (result.exit_code, result.stderr) == (status, stderr)
