"""By which address, name and key a running daemon is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import standins
import trio

from penstock.config.load import loads
from penstock.errors import BackendGarbled, ConnectFailed, ConnectTimeout
from penstock.service import door as doors_module
from penstock.service.door import Door, doors, owner_key

DIGEST = "sha256:" + "0" * 64


def opened(listen: str, more: str = "") -> list[Door]:
    keys = '[[keys]]\nname = "a"\nkey = "env:A"\n'
    return doors(loads(f"[server]\nlisten = {listen}\n{more}{keys}", "f"), {})


@pytest.mark.parametrize(
    ("listen", "urls"),
    [
        ('["127.0.0.1:1", "[::1]:2", "localhost:3"]', ["http://127.0.0.1:1", "http://[::1]:2", "http://localhost:3"]),
        ('["unix:/run/p.sock", "127.0.0.1:0"]', ["unix:/run/p.sock"]),
    ],
)
def test_the_addresses_are_the_files(listen: str, urls: list[str]) -> None:
    assert [door.url for door in opened(listen)] == urls


@pytest.mark.parametrize(
    ("listen", "names", "url", "host"),
    [
        ("0.0.0.0:80", ["box.lan"], "http://127.0.0.1:80", "127.0.0.1"),
        ("[::]:8000", ["box.lan"], "http://[::1]:8000", "[::1]:8000"),
        ("127.0.0.2:8000", ["box.lan"], "http://127.0.0.2:8000", "127.0.0.2:8000"),
        ("192.0.2.1:8000", ["box.lan"], "http://192.0.2.1:8000", "box.lan:8000"),
        ("192.0.2.1:8000", ["box.lan:80", "b"], "http://192.0.2.1:8000", "box.lan:80"),
    ],
)
def test_the_name_is_one_that_the_guard_allows(listen: str, names: list[str], url: str, host: str) -> None:
    (door,) = opened(f'["{listen}"]', f"allowed_hosts = {names}\n")
    assert door.url == url
    assert f"\r\nHost: {host}\r\n".encode() in door.outgoing("GET", "/health")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([("sk-a", False), ("sk-b", True), ("sk-c", True)], "sk-b"),
        ([("env:A", True)], "sk-from-environment"),
        ([(DIGEST, True), ("sk-b", True)], "sk-b"),
        ([("env:NONE", True), ("credential:a", True), ("sk-b", True)], "sk-b"),
        ([(DIGEST, True)], None),
        ([("sk-a", False)], None),
        ([], None),
    ],
)
def test_the_key_is_the_first_owners_of_the_file(keys: list[tuple[str, bool]], expected: str | None) -> None:
    text = "".join(
        f'[[keys]]\nname = "k{number}"\nkey = "{key}"\nadmin = {str(admin).lower()}\n'
        for number, (key, admin) in enumerate(keys)
    )
    config = loads(text, "f")
    assert owner_key(config, {"A": "sk-from-environment"}) == expected
    assert owner_key(config, {"PENSTOCK_KEY": "sk-given"}) == "sk-given"


async def test_a_server_of_another_kind_is_no_penstock(nursery: trio.Nursery) -> None:
    """llama.cpp's health is `{"status": "ok"}` too."""
    for page in ({"status": "ok"}, ["ok"], b"not json"):
        url = await standins.serve(nursery, {"/health": page})
        (door,) = doors(loads(f'[server]\nlisten = ["{url.removeprefix("http://")}"]', "f"), {})
        with pytest.raises(BackendGarbled, match="is no penstock"):
            await door.health()


async def test_nobody_answers(nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors_module, "PATIENCE", 0.05)
    url = await standins.serve(nursery, {"/health": None})
    hangs, closed, missing = opened(f'["{url.removeprefix("http://")}", "127.0.0.1:1", "unix:{tmp_path}/none"]')
    with pytest.raises(ConnectTimeout):
        await hangs.health()
    with pytest.raises(ConnectFailed, match="connection refused"):
        await closed.health()
    with pytest.raises(ConnectFailed, match="there is no socket"):
        await missing.health()
