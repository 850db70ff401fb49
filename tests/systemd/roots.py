"""Debian's file systems, to be booted: made once by debootstrap, kept in the user's cache, never written to."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

#: Release -> the version of its systemd, and of its Python.
RELEASES = {"bookworm": ("252", "3.11"), "trixie": ("257", "3.13")}
PACKAGES = ("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "python3", "python3-venv")
TOOLS = ("debootstrap", "systemd-nspawn", "nsenter", "unshare")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "penstock-tests", "roots")
#: What a download of 100 MB may take; seconds.
LONG = 900


def lacking() -> str:
    """What keeps this machine from booting them; nothing when it can."""
    if os.geteuid():
        return "needs root, to boot a real systemd"
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        return f"needs {', '.join(missing)}, of Debian's packages debootstrap and systemd-container"
    namespaces = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True)
    return "" if namespaces.returncode == 0 else "needs to be allowed namespaces of its own, as containers are"


def root_of(release: str) -> Path:
    """The root of a release with what a service of systemd needs.  Raises RuntimeError where it cannot be made."""
    edition = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]
    root = CACHE / f"{release}-{edition}"
    if not root.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = root.with_suffix(f".{os.getpid()}")
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", release, str(part), *mirror()]
        with root.with_suffix(".log").open("w+") as log:
            status = subprocess.run(command, stdout=log, stderr=log, timeout=LONG, check=False).returncode
            log.seek(0)
            if status:
                last = log.read().strip().rpartition("\n")[2]
                shutil.rmtree(part, ignore_errors=True)
                raise RuntimeError(f"debootstrap cannot make {release}: {last}")
        part.rename(root)
    return root


def mirror() -> list[str]:
    """Where apt gets Debian from on this machine; nothing where it is no Debian, for debootstrap's own choice."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    origins = (line.split(" ", 1) for line in told.splitlines())
    return next(([uri] for uri, origin in origins if origin == "Debian Debian"), [])
