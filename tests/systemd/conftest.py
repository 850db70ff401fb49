"""Machines with penstock's packages at hand.  Where none can be booted, the tests say what is lacking."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import CANARY, COMMAND, HOME, SCRIPT, Service, reachable, until
from machine import Machine
from roots import RELEASES, lacking, root_of

sys.path.append(str(Path(__file__).parents[2] / "etc/debian"))

from package import ROOT, fitting_wheels, locked, pip

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.systemd)


@pytest.fixture(scope="session")
def bootable() -> None:
    if reason := lacking():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def shared(bootable: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of penstock and of all it needs, for the Python of every release."""
    folder = tmp_path_factory.mktemp("shared")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    architecture = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout
    lock = folder / "lock"
    for _, python in RELEASES.values():
        lock.write_text("".join(locked(python)))
        fitting = fitting_wheels(python, architecture.strip())
        pip("download", "--no-deps", "--dest", folder, *fitting, "--require-hashes", "-r", lock)
    return folder


@pytest.fixture(scope="session")
def package(shared: Path) -> str:
    """Debian's package, as a machine sees it."""
    build = [sys.executable, ROOT / "etc/debian/package.py", f"--output={shared}"]
    built = subprocess.run(build, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return f"/shared/{Path(built).name}"


@pytest.fixture(scope="session")
def next_package(package: str, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with a later number."""
    folder = tmp_path_factory.mktemp("next") / "package"
    subprocess.run(["dpkg-deb", "--raw-extract", shared / Path(package).name, folder], check=True)
    control = folder / "DEBIAN/control"
    control.write_text(control.read_text().replace("-1\n", "-2\n", 1))
    subprocess.run(
        ["dpkg-deb", "-Znone", "--build", folder, shared / "next.deb"], check=True, stdout=subprocess.DEVNULL
    )
    return "/shared/next.deb"


def root_or_skip(release: str) -> Path:
    try:
        return root_of(release)
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=RELEASES)
def root(request: pytest.FixtureRequest, bootable: None) -> Path:
    """Each Debian, to be booted."""
    return root_or_skip(request.param)


def booted(root: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(root, shared, tmp_path_factory.mktemp("console") / "log")
    yield machine
    machine.stop()


@pytest.fixture(scope="session")
def machine(root: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One for all tests of the wheel, which leave it as they found it."""
    yield from booted(root, shared, tmp_path_factory)


@pytest.fixture
def bare(root: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One without anything of penstock's."""
    yield from booted(root, shared, tmp_path_factory)


@pytest.fixture
def outgoing(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Debian 12, with the packages that make it Debian 13 in /shared/trixie."""
    packages = root_or_skip("trixie") / "var/cache/apt/archives"
    if not any(packages.glob("systemd_*.deb")):
        pytest.skip(f"needs the packages that debootstrap leaves in {packages}")
    shutil.copytree(packages, shared / "trixie", ignore=shutil.ignore_patterns("partial", "lock"))
    yield from booted(root_or_skip("bookworm"), shared, tmp_path_factory)


@pytest.fixture(scope="session")
def penstock(machine: Machine) -> str:
    """The wheel as an owner installs it for the whole machine, and a backend that does what a model's name says."""
    machine.run("python3", "-m", "venv", HOME)
    machine.run(f"{HOME}/bin/pip", "install", "--quiet", "--no-index", "--find-links=/shared", "penstock")
    backend = [COMMAND, "simulate", "--listen=127.0.0.1:11500", f"--model={CANARY}={SCRIPT}"]
    machine.run("systemd-run", "--quiet", "--unit=backend", *backend)
    with machine.network():
        until(lambda: reachable(11500), "the backend")
    return COMMAND


@pytest.fixture
def service(machine: Machine, penstock: str) -> Iterator[Service]:
    """The system's service, running; it is gone after the test."""
    service = Service(machine, penstock)
    service.install()
    yield service
    service.remove()
