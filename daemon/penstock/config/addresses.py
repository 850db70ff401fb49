"""Where to listen and where a backend is: the grammar of the addresses in the file.

``listen`` takes ``HOST:PORT`` with an IP address or ``localhost``, ``[IPv6]:PORT`` and ``unix:/path``.  Other names are
refused: what they resolve to may change, and a listener shall be where the owner wrote it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

import msgspec

from penstock.config.faults import quoted

#: A unix socket's path and its closing NUL fit 108 bytes (unix(7), sun_path).
_LONGEST_PATH = 107
_LABEL = "[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST = re.compile(rf"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>{_LABEL}(?:\.{_LABEL})*))(?::(?P<port>[1-9][0-9]{{0,4}}))?")
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\*|[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")


class TcpAddress(msgspec.Struct, frozen=True):
    """``host`` without brackets; ``port`` 0 asks the system for a free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(msgspec.Struct, frozen=True):
    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


def parse_listen(text: str) -> TcpAddress | UnixAddress:
    """The text of one ``listen`` item -> its address.  Raises ValueError with a sentence for people."""
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    match = re.fullmatch(r"(?:\[(?P<six>[^]]*)\]|(?P<host>[^:]*)):(?P<port>[0-9]{1,5})", text)
    if match is None:
        if text.count(":") > 1 and "[" not in text:
            raise ValueError(f'{quoted(text)}: an IPv6 address stands in brackets, as in "[::1]:11435"')
        raise ValueError(f'{quoted(text)} is no address; write "127.0.0.1:11435", "[::1]:11435" or "unix:/path"')
    host, port = match["host"] or match["six"] or "", int(match["port"])
    if port > 65535:
        raise ValueError(f"port {port} does not exist; the highest is 65535")
    if match["six"] is not None:
        _check(ipaddress.IPv6Address, host)
    elif host != "localhost":
        _check(ipaddress.IPv4Address, host)
    return TcpAddress(host, port)


def check_listen(text: str) -> str:
    """A ``listen`` item.  Raises ValueError."""
    parse_listen(text)
    return text


def check_exposure(address: TcpAddress | UnixAddress, *, has_keys: bool, has_names: bool) -> None:
    """An address that others reach asks for keys, and for a name to be called by.  Raises ValueError."""
    if isinstance(address, UnixAddress) or address.loopback:
        return
    if not has_keys:
        raise ValueError(
            'others can reach this address, and there are no [[keys]]; run "penstock key new", '
            "or listen on loopback or a unix socket"
        )
    if not has_names:
        raise ValueError("others can reach this address; server.allowed_hosts must say by which names they call it")


def check_host(text: str) -> str:
    """A name of ``allowed_hosts``, as a client's ``Host`` has it -> the same in lower case.  Raises ValueError."""
    match = _HOST.fullmatch(text.lower())
    if match is None:
        raise ValueError(
            f'{quoted(text)} is no host; write a name or an IP address, such as "box.lan", "box.lan:80" or "[fd00::1]"'
        )
    if match["six"] is not None:
        _check(ipaddress.IPv6Address, match["six"])
    elif re.fullmatch(r"[0-9.]+", match["name"]):
        _check(ipaddress.IPv4Address, match["name"])
    if match["port"] is not None and not 0 < int(match["port"]) < 65536:
        raise ValueError(f"port {match['port']} does not exist; the highest is 65535")
    if (match["six"] or match["name"]) in ("0.0.0.0", "::"):  # noqa: S104
        raise ValueError(f"{quoted(text)} is an address to listen on, and no name of a host")
    return match[0]


def check_origin(text: str) -> str:
    """An item of ``allowed_origins``, in the form that browsers send (RFC 6454 6.2).  Raises ValueError."""
    if text == "null":
        raise ValueError('"null" is the origin of every sandboxed page; it cannot be allowed')
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError(
            f'{quoted(text)} is no origin; write "http://localhost:3000" or "vscode-webview://*", '
            "in lower case and without a path"
        )
    if match["host"] == "*" and match["scheme"] in ("http", "https", "file"):
        raise ValueError(f"{quoted(text)} would let every web page in; name the pages' hosts")
    return text


def check_url(text: str) -> str:
    """A backend's URL.  Raises ValueError, which never repeats the text: it may hold a password."""
    example = '"http://127.0.0.1:11434"'
    if not text.isprintable() or " " in text:
        raise ValueError("a URL holds no blanks or control characters")
    try:
        url = urlsplit(text)
        host = url.hostname if url.port != 0 else None
    except ValueError as error:
        raise ValueError(f"is no URL: {error}; write one like {example}") from None
    if url.scheme not in ("http", "https") or not host:
        raise ValueError(f"must be an http or https URL with a host, such as {example}")
    if url.username is not None:
        raise ValueError("a URL is no place for a name or password; use api_key")
    if "?" in text or "#" in text:
        raise ValueError("a backend's URL has no query and no fragment")
    return text


def _unix(path: str) -> UnixAddress:
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError('a unix socket needs an absolute path, as in "unix:/run/penstock/penstock.sock"')
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ValueError(f"a unix socket's path has at most {_LONGEST_PATH} bytes")
    return UnixAddress(path)


def _check(kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address], host: str) -> None:
    try:
        kind(host)
    except ValueError:
        raise ValueError(f'{quoted(host)} is no IP address; a listen address takes one, or "localhost"') from None
