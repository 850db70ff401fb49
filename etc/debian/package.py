"""Builds the Debian package: ``make deb``.  Prints where it lies.

One package serves Debian 12 and 13.  Its virtual environment in /opt/penstock has the libraries twice, for the Python
of either, since compiled ones fit one version only; the interpreter finds its own by name.  So an upgrade of the whole
system leaves penstock running.  The libraries are those of ``etc/lock/run.lock``, checked by their hashes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PYTHONS = ("3.11", "3.13")
HOME = "opt/penstock"
#: Counts packages of one version of penstock.
REVISION = 1
#: What the wheels of the libraries may be made for, by the name that Debian has for the machine.
PLATFORMS = {
    "amd64": [f"{name}_x86_64" for name in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")],
    "arm64": [f"{name}_aarch64" for name in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")],
}
SCRIPT = f"""\
#!/{HOME}/bin/python3
import sys

from penstock.cli.main import main

sys.exit(main())
"""
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/penstock",
    "zsh": "usr/share/zsh/vendor-completions/_penstock",
    "fish": "usr/share/fish/vendor_completions.d/penstock.fish",
}
#: What says how an installation came about, which is another thing each time.
TRACES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
MARK = "# Brought by Debian's package; your own settings belong into a drop-in: systemctl edit penstock"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="the folder for the package")
    output: Path = parser.parse_args().output
    os.umask(0o022)
    architecture = run("dpkg", "--print-architecture")
    version = f"{upstream()}-{REVISION}"
    output.mkdir(parents=True, exist_ok=True)
    package = output / f"penstock_{version}_{architecture}.deb"
    with TemporaryDirectory() as scratch:
        stage, wheels = Path(scratch, "stage"), Path(scratch, "wheels")
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT)
        environment(stage, next(wheels.iterdir()), architecture)
        around(stage)
        controlled(stage, version, architecture)
        built(stage, package)
    print(package)


def upstream() -> str:
    found = re.search(r'__version__ = "(.+)"', (ROOT / "daemon/penstock/__init__.py").read_text())
    assert found
    return found[1]


def environment(stage: Path, wheel: Path, architecture: str) -> None:
    """The virtual environment, with one folder of libraries for each Python."""
    home = stage / HOME
    (home / "bin").mkdir(parents=True)
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (home / "bin/python3").symlink_to("/usr/bin/python3")
    (home / "bin/python").symlink_to("python3")
    executable(home / "bin/penstock", SCRIPT)
    lock = stage.with_name("lock")
    for python in PYTHONS:
        target = home / f"lib/python{python}/site-packages"
        lock.write_text("".join(locked(python)))
        fitting = fitting_wheels(python, architecture)
        for wanted in (["--require-hashes", "-r", lock], [wheel]):
            pip("install", "--target", target, "--no-deps", "--no-compile", *fitting, *wanted)
            # commands with the path of this Python, and what lies elsewhere in a package
            for beside in ("bin", "share"):
                shutil.rmtree(target / beside, ignore_errors=True)
        for path in target.glob("*.dist-info/*"):
            if path.name in TRACES:
                path.unlink()


def fitting_wheels(python: str, architecture: str) -> list[str]:
    """What has pip choose wheels for another Python than the one that runs it."""
    platforms = [f"--platform={platform}" for platform in PLATFORMS[architecture]]
    return [*platforms, "--only-binary=:all:", f"--python-version={python}", "--implementation=cp"]


def locked(python: str) -> Iterator[str]:
    """The entries of the lock that this Python needs, as they stand there."""
    text = (ROOT / "etc/lock/run.lock").read_text()
    for entry in re.findall(r"^\S.*\n(?:\s.*\n)*", text, flags=re.MULTILINE):
        marker = Requirement(entry.partition("\\")[0]).marker
        if marker is None or marker.evaluate({"python_version": python, "python_full_version": f"{python}.0"}):
            yield entry


def around(stage: Path) -> None:
    """What stands beside the environment: command, units, manuals, completion, configuration."""
    link = stage / "usr/bin/penstock"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"/{HOME}/bin/penstock")
    for name in ("penstock.service", "penstock.socket"):
        put(stage / "usr/lib/systemd/system" / name, branded(ROOT / "systemd/system" / name))
    put(stage / "usr/lib/systemd/catalog/penstock.catalog", branded(ROOT / "systemd/penstock.catalog"))
    put(stage / "usr/lib/systemd/system/penstock.socket.d/clients.conf", (HERE / "clients.conf").read_bytes())
    put(stage / "usr/lib/sysusers.d/penstock.conf", (HERE / "sysusers.conf").read_bytes())
    drop_ins = ROOT / "systemd/system/penstock.service.d"
    put(stage / "usr/share/penstock/notify-reload.conf", branded(drop_ins / "notify-reload.conf"))
    executable(stage / "usr/lib/systemd/system-generators/penstock", (HERE / "generator").read_text())
    for page in sorted((ROOT / "docs/man").iterdir()):
        folder = stage / f"usr/share/man/man{page.suffix[1:]}"
        put(folder / f"{page.name}.gz", gzip.compress(page.read_bytes(), mtime=0))
    for shell, place in COMPLETIONS.items():
        put(stage / place, completion(stage, shell))
    schema = "usr/share/penstock/penstock.schema.json"
    put(stage / schema, (ROOT / "etc/penstock.schema.json").read_bytes())
    example = (ROOT / "etc/penstock.toml").read_text()
    put(stage / "etc/penstock/penstock.toml", example.replace("./penstock.schema.json", f"/{schema}", 1))
    doc = stage / "usr/share/doc/penstock"
    put(doc / "copyright", (ROOT / "LICENSE").read_bytes())
    put(doc / "changelog.gz", gzip.compress((ROOT / "CHANGELOG.md").read_bytes(), mtime=0))
    local = drop_ins / "local-backends-only.conf"
    put(doc / "examples" / drop_ins.name / local.name, local.read_bytes())


def branded(path: Path) -> str:
    """A file that "penstock install" would fill in; as it stands there it names the package's own places."""
    first, _, rest = path.read_text().partition("\n")
    assert first.startswith("# Written by ")
    return f"{MARK}\n{rest}"


def completion(stage: Path, shell: str) -> str:
    """What the command itself has a shell complete by."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    libraries = stage / HOME / f"lib/python{version if version in PYTHONS else PYTHONS[0]}/site-packages"
    environ = {**os.environ, "PYTHONPATH": str(libraries), "_PENSTOCK_COMPLETE": f"{shell}_source"}
    return run(sys.executable, "-B", stage / HOME / "bin/penstock", env=environ) + "\n"


def controlled(stage: Path, version: str, architecture: str) -> None:
    """What dpkg reads."""
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    size = sum(path.stat().st_size for path in files) // 1024
    # hashlib's md5 is what dpkg compares by, and no safeguard
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(stage)}\n" for path in files]
    folder = stage / "DEBIAN"
    control = (HERE / "control").read_text()
    for name, value in (("VERSION", version), ("ARCHITECTURE", architecture), ("SIZE", str(size))):
        control = control.replace(f"@{name}@", value)
    put(folder / "control", control)
    put(folder / "md5sums", "".join(line for line in sums if "  etc/" not in line))
    put(folder / "conffiles", "/etc/penstock/penstock.toml\n")
    put(folder / "triggers", (HERE / "triggers").read_text())
    for script in ("postinst", "prerm", "postrm"):
        executable(folder / script, (HERE / script).read_text())


def built(stage: Path, package: Path) -> None:
    """The same files become the same package: no file is younger than the last change of the project."""
    environ = {**os.environ, "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH") or last_change()}
    run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", stage, package, env=environ)


def last_change() -> str:
    """In seconds since the epoch: of the repository, or of what was made of it."""
    if (ROOT / ".git").exists():
        return run("git", "-C", ROOT, "log", "-1", "--format=%ct")
    return str(int((ROOT / "CHANGELOG.md").stat().st_mtime))


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def executable(path: Path, text: str) -> None:
    put(path, text)
    path.chmod(0o755)


def pip(*words: str | Path) -> None:
    run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words)


def run(*words: str | Path, env: dict[str, str] | None = None) -> str:
    return subprocess.run(words, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
