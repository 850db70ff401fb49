"""Secrets and where they are kept: nothing here ever shows its value by accident.

A :class:`Secret` has no text form but its mask, and no encoder takes it.  ``reveal`` is the one way to the value.
"""

from __future__ import annotations

import difflib
import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from penstock.errors import ConfigError

MASK = "***"
SCHEMES = ("credential", "file", "env")
#: Bytes; more than any key has, and than a header line of a backend takes.
_LONGEST = 8192


class Secret:
    """A value that is masked wherever it is printed.  JSON encoders refuse it; give them :func:`mask` as hook."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the wire and for nothing else."""
        return self._value

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class Reference(Secret):
    """Where a secret is kept, or the secret itself; shown in full only when it names a place.

    ``credential:NAME`` is a file that systemd's ``LoadCredential=`` provides, ``file:/path`` one that only its owner
    may read, ``env:NAME`` an environment variable; any other text is the secret.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The text of the file -> a reference.  Raises ValueError, which never repeats a literal key."""
        if not text or not text.isprintable():
            raise ValueError("a key is not empty and holds no control characters")
        reference = cls(text)
        scheme, name = reference.scheme, reference.name
        # A misspelt scheme would be sent to the backend as if it were the key.
        if not scheme and ":" in text and (near := difflib.get_close_matches(text.partition(":")[0], SCHEMES, n=1)):
            raise ValueError(f'begins almost like "{near[0]}:"; did you mean that?')
        if scheme == "credential" and ("/" in name or name in ("", ".", "..")):
            raise ValueError('"credential:" takes the plain name of a credential, as in "credential:cloud"')
        if scheme == "file" and not name.startswith("/"):
            raise ValueError('"file:" takes an absolute path, as in "file:/etc/penstock/cloud.key"')
        if scheme == "env" and not name.isidentifier():
            raise ValueError('"env:" takes the name of an environment variable, as in "env:CLOUD_API_KEY"')
        return reference

    @property
    def scheme(self) -> str:
        """One of SCHEMES, or empty when this is the secret itself."""
        scheme, colon, _ = self.reveal().partition(":")
        return scheme if colon and scheme in SCHEMES else ""

    @property
    def name(self) -> str:
        """What follows the scheme."""
        return self.reveal().partition(":")[2]

    def __str__(self) -> str:
        return repr(self.reveal()) if self.scheme else MASK


def resolve(reference: Reference, environ: Mapping[str, str], credentials_dir: Path | None) -> Secret:
    """Fetch the secret that a reference stands for.

    ``credentials_dir`` is the directory that systemd passes in ``$CREDENTIALS_DIRECTORY``.  Exactly one newline at the
    end of a file is taken off: editors add one, and systemd hands the file over as it is.  Raises ConfigError, which
    names the reference and never the secret.
    """
    match reference.scheme:
        case "credential":
            if credentials_dir is None:
                raise _missing(reference, f"none were passed; the unit lacks LoadCredential={reference.name}:/path")
            value = _read(reference, credentials_dir / reference.name)
        case "file":
            value = _read(reference, Path(reference.name), private=True)
        case "env":
            if reference.name not in environ:
                raise _missing(reference, "the environment variable is not set")
            value = environ[reference.name]
        case _:
            value = reference.reveal()
    # It goes into a header, where a line break would begin another one.
    if not value.isascii() or not value.isprintable() or not value.strip():
        raise _missing(reference, "must hold one line of printable ASCII text")
    return Secret(value)


def mask(value: object) -> str:
    """For ``msgspec.json.encode(…, enc_hook=mask)`` and ``json.dumps(…, default=mask)``: secrets become their mask."""
    if isinstance(value, Secret):
        return MASK
    raise TypeError(f"cannot encode {type(value).__name__}")


def _read(reference: Reference, path: Path, *, private: bool = False) -> str:
    try:
        with path.open("rb") as file:
            if private and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise _missing(reference, f"others may read the file; run: chmod 600 {path}")
            value = file.read(_LONGEST + 1)
    except OSError as error:
        raise _missing(reference, f"cannot be read: {error.strerror}") from None
    if len(value) > _LONGEST:
        raise _missing(reference, f"is longer than {_LONGEST} bytes")
    return value.decode(errors="replace").removesuffix("\n")


def _missing(reference: Reference, what: str) -> ConfigError:
    return ConfigError([f"secret {reference}: {what}"])
