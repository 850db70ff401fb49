"""The packages: what is in them, that the same files make the same one, and that pipx makes a command of the wheel."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from penstock import __version__

ROOT = Path(__file__).parents[2]
NAME = f"penstock-{__version__}"

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both; the wheel is made of the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, timeout=120)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return dist / f"{NAME}-py3-none-any.whl"


def under(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)) for path in files}


def test_the_wheel_is_the_package_and_what_it_is_installed_with(wheel: Path) -> None:
    package = {f"penstock/{name}" for name in under(ROOT / "daemon/penstock")}
    units = {f"penstock/systemd/{name}" for name in under(ROOT / "systemd")}
    about = {f"{NAME}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    shared = ("man/man1/penstock.1", "man/man5/penstock.toml.5", "penstock/penstock.schema.json")
    data = {f"{NAME}.data/data/share/{name}" for name in shared}
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == package | units | about | data | {f"{NAME}.dist-info/licenses/LICENSE"}
        metadata = HeaderParser().parsestr(archive.read(f"{NAME}.dist-info/METADATA").decode())
    assert "penstock/py.typed" in package
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"


def test_the_source_distribution_has_all_that_it_is_made_of(dist: Path) -> None:
    with tarfile.open(dist / f"{NAME}.tar.gz") as archive:
        names = {name.removeprefix(f"{NAME}/") for name in archive.getnames()}
    for folder in ("daemon", "docs", "etc", "systemd", "tests"):
        known = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True)
        here = [name for name in known.stdout.splitlines() if (ROOT / name).exists()]
        assert [name for name in here if name not in names] == []
    assert {"LICENSE", "Makefile", "README.md", "pyproject.toml"} <= names


def test_the_same_files_are_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, timeout=120)
    assert digest(tmp_path / wheel.name) == digest(wheel)


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb, of Debian's package dpkg")
def test_the_same_files_are_the_same_debian_package(tmp_path: Path) -> None:
    """…wherever they lie, whatever the time is there, and whoever builds it."""
    source, digests = ROOT, set()
    for zone, mask in (("UTC", 0o022), ("Asia/Tokyo", 0o077)):
        scratch = tmp_path / zone.partition("/")[0]
        tree = scratch / "penstock"
        for name in ("daemon", "docs", "etc", "systemd"):
            shutil.copytree(source / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"):
            shutil.copy(source / name, tree)
        environ = {**os.environ, "TZ": zone, "TMPDIR": str(scratch), "SOURCE_DATE_EPOCH": "1700000000"}
        build = [sys.executable, tree / "etc/debian/package.py", f"--output={scratch}"]
        subprocess.run(build, env=environ, umask=mask, stdout=subprocess.DEVNULL, check=True, timeout=300)
        digests.add(digest(next(scratch.glob("*.deb"))))
        source = tree
    assert len(digests) == 1


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_pipx_makes_a_command_of_it(wheel: Path, tmp_path: Path) -> None:
    places = {name: str(tmp_path / name.lower()) for name in ("PIPX_HOME", "PIPX_BIN_DIR", "PIPX_MAN_DIR", "HOME")}
    environ = {**os.environ, **places, "XDG_CONFIG_HOME": ""}
    for place in places.values():
        Path(place).mkdir()

    def run(*words: str | Path, status: int = 0) -> str:
        result = subprocess.run(words, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert result.returncode == status, result.stdout + result.stderr
        return result.stdout

    run(sys.executable, "-m", "pipx", "install", "--python", sys.executable, wheel)
    penstock = Path(places["PIPX_BIN_DIR"], "penstock")
    assert run(penstock, "--version") == f"penstock {__version__}\n"
    assert run(penstock, "check") == "no configuration file: penstock runs on its defaults\n"
    assert run(penstock, "schema") == (ROOT / "etc/penstock.schema.json").read_text()
    assert run(penstock, "demo").count("connection closed") == 2
    assert f"ExecStart={Path(places['PIPX_HOME']).resolve()}" in run(penstock, "install", "--dry-run")
    assert under(Path(places["PIPX_MAN_DIR"])) == {"man1/penstock.1", "man5/penstock.toml.5"}
    (tmp_path / "penstock.toml").write_text("[server]\ndrain = 10x\n")
    run(penstock, "check", "penstock.toml", status=78)
