from __future__ import annotations

import json
import pickle
from pathlib import Path

import msgspec
import pytest

from penstock.config.load import loads
from penstock.config.secrets import Reference, Secret, mask, resolve
from penstock.errors import ConfigError

KEY = "sk-very-secret"


@pytest.mark.parametrize("secret", [Secret(KEY), Reference(KEY)], ids=["secret", "literal reference"])
def test_a_secret_never_shows(secret: Secret) -> None:
    assert secret.reveal() == KEY
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>20}", "%s %r" % (secret, secret), repr([secret])]  # noqa: UP031
    shown += [msgspec.json.encode({"key": secret}, enc_hook=mask).decode(), json.dumps({"key": secret}, default=mask)]
    assert all("***" in text for text in shown)
    assert not any(KEY in text for text in shown)


def test_no_encoder_takes_a_secret_without_being_told() -> None:
    for encode in (msgspec.json.encode, msgspec.to_builtins, json.dumps, pickle.dumps):
        with pytest.raises(TypeError):
            encode(Secret(KEY))


def test_the_encoder_hook_is_for_secrets_only() -> None:
    with pytest.raises(TypeError, match="cannot encode object"):
        mask(object())


def test_secrets_compare_by_value() -> None:
    assert Secret(KEY) == Secret(KEY)
    assert Secret(KEY) != Secret("other")
    assert Secret(KEY) != KEY
    assert len({Secret(KEY), Secret(KEY)}) == 1


def test_the_configuration_shows_places_but_no_keys() -> None:
    def shown(key: str) -> str:
        return repr(loads(f'[backends.a]\nkind = "openai"\nurl = "http://a"\napi_key = "{key}"', "f"))

    assert "Reference(***)" in shown(KEY) and KEY not in shown(KEY)
    assert "Reference('credential:cloud')" in shown("credential:cloud")


@pytest.mark.parametrize(
    ("text", "scheme", "name"),
    [
        ("credential:cloud", "credential", "cloud"),
        ("file:/etc/penstock/key", "file", "/etc/penstock/key"),
        ("env:CLOUD_KEY", "env", "CLOUD_KEY"),
    ],
)
def test_a_reference_names_a_place(text: str, scheme: str, name: str) -> None:
    reference = Reference.parse(text)
    assert (reference.scheme, reference.name) == (scheme, name)


@pytest.mark.parametrize("text", [KEY, "id:secret", ":", "x:credential:y"])
def test_any_other_text_is_the_key_itself(text: str) -> None:
    assert resolve(Reference.parse(text), {}, None) == Secret(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not empty"),
        ("two\nlines", "control characters"),
        ("credential:", "plain name"),
        ("credential:../shadow", "plain name"),
        ("credential:..", "plain name"),
        ("file:key", "absolute path"),
        ("env:MY-KEY", "environment variable"),
        ("env:", "environment variable"),
        ("credentials:cloud", "did you mean that"),
        ("Env:CLOUD_KEY", 'almost like "env:"'),
    ],
)
def test_a_reference_that_cannot_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Reference.parse(text)


def place(kind: str, value: bytes, tmp_path: Path) -> tuple[Reference, dict[str, str], Path]:
    (tmp_path / "cloud").write_bytes(value)
    (tmp_path / "cloud").chmod(0o400)
    text = {"credential": "credential:cloud", "file": f"file:{tmp_path / 'cloud'}", "env": "env:CLOUD"}[kind]
    return Reference.parse(text), {"CLOUD": value.decode()}, tmp_path


@pytest.mark.parametrize("kind", ["credential", "file", "env"])
def test_a_secret_is_fetched(kind: str, tmp_path: Path) -> None:
    assert resolve(*place(kind, KEY.encode(), tmp_path)).reveal() == KEY


@pytest.mark.parametrize("kind", ["credential", "file"])
def test_exactly_one_newline_is_taken_off_a_file(kind: str, tmp_path: Path) -> None:
    assert resolve(*place(kind, b" key \n", tmp_path)).reveal() == " key "
    (tmp_path / "cloud").unlink()
    with pytest.raises(ConfigError, match="one line of printable ASCII"):
        resolve(*place(kind, b"key\n\n", tmp_path))


@pytest.mark.parametrize("kind", ["credential", "file"])
@pytest.mark.parametrize("value", [b"", b"\n", b"  ", b"a\r\nX-Header: b", b"a\0b", b"\xff\xfe", "schlüssel".encode()])
def test_what_no_header_can_carry_is_refused(kind: str, value: bytes, tmp_path: Path) -> None:
    (tmp_path / "cloud").write_bytes(value)
    (tmp_path / "cloud").chmod(0o400)
    text = "credential:cloud" if kind == "credential" else f"file:{tmp_path / 'cloud'}"
    with pytest.raises(ConfigError, match="one line of printable ASCII"):
        resolve(Reference.parse(text), {}, tmp_path)


def test_a_file_without_end_is_not_read_to_the_end() -> None:
    with pytest.raises(ConfigError, match="longer than 8192 bytes"):
        resolve(Reference.parse("credential:zero"), {}, Path("/dev"))


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o620, 0o602])
def test_a_file_that_others_may_touch_is_refused(mode: int, tmp_path: Path) -> None:
    reference, environ, directory = place("file", KEY.encode(), tmp_path)
    (tmp_path / "cloud").chmod(mode)
    with pytest.raises(ConfigError, match="others may read the file; run: chmod 600"):
        resolve(reference, environ, directory)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("credential:cloud", "secret 'credential:cloud': cannot be read: No such file or directory"),
        ("file:/no/such/key", "secret 'file:/no/such/key': cannot be read: No such file or directory"),
        ("env:CLOUD", "secret 'env:CLOUD': the environment variable is not set"),
    ],
)
def test_a_missing_secret_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as missing:
        resolve(Reference.parse(text), {}, tmp_path)
    assert missing.value.faults == [message]


def test_a_credential_without_systemd_says_what_the_unit_lacks() -> None:
    with pytest.raises(ConfigError) as missing:
        resolve(Reference.parse("credential:cloud"), {}, None)
    assert missing.value.faults == [
        "secret 'credential:cloud': none were passed; the unit lacks LoadCredential=cloud:/path"
    ]
