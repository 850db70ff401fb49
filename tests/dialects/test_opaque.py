"""What is passed on unread: where its model stands, what is changed, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.chat.events import Finish, FinishReason, Opaque
from penstock.config.model import SHAPE, Manner
from penstock.dialects import multipart, opaque
from penstock.dialects.base import Identity, Limits, Timing
from penstock.dialects.opaque import Asked, OpaqueNorth, OpaqueSouth
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.errors import BackendTruncated, BadRequest, UnknownPath

FORM = "multipart/form-data; boundary=xyz"


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--xyz\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def asked(body: bytes, media: str = "application/json", path: str = "/v1/rerank", query: str = "") -> Asked:
    return opaque.asked("POST", path, query, body, media, "*/*", shape=SHAPE)


def sent(found: Asked, kind: str = "openai", model: str = "target") -> tuple[str, bytes]:
    call = OpaqueSouth(SOUTHBOUND[kind], found).encode(opaque.request_of(found, "m"), model)
    return call.path, call.body


# --- forms -----------------------------------------------------------------------------------------------------------

FILE = part("file", bytes(range(256)) + b'--xy name="model"', '; filename="a.wav"\r\nContent-Type: audio/wav')
AUDIO = FILE + part("model", b"whisper-1") + part("language", b"en") + b"--xyz--\r\n"


@pytest.mark.parametrize(
    "content_type",
    [FORM, 'Multipart/Form-Data; charset=utf-8; boundary="xyz"', "multipart/form-data;boundary=xyz ; a=b"],
)
def test_the_model_is_found_in_a_form(content_type: str) -> None:
    span = multipart.field(AUDIO, content_type, "model")
    assert span is not None
    assert AUDIO[slice(*span)] == b"whisper-1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        FILE + b"--xyz--\r\n",
        part("model", b"never ends"),
        b"--xyz",
        b"model=a",
        part("xmodel", b"a") + part("Model", b"b") + b"--xyz--\r\n",
    ],
)
def test_what_names_no_one_model_has_none(body: bytes) -> None:
    assert multipart.field(body, FORM, "model") is None
    assert multipart.field(AUDIO, "multipart/form-data", "model") is None


@given(st.binary(max_size=200), st.binary(max_size=30))
def test_a_form_of_any_bytes_keeps_them(noise: bytes, value: bytes) -> None:
    if b"--xyz" in noise or b"--xyz" in value:
        return
    body = part("file", noise) + part("model", value) + part("z", noise) + b"--xyz--\r\n"
    span = multipart.field(body, FORM, "model")
    assert span is not None
    assert body[slice(*span)] == value
    multipart.field(noise, FORM, "model")


# --- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "media", "model"),
    [
        (b'{"model": "m",  "documents": []}', "application/json", "m"),
        (b'{"documents": []}', "", ""),
        (b"", "application/json", ""),
        (AUDIO, FORM, "whisper-1"),
        (b"\x00\x01", "application/octet-stream", ""),
    ],
)
def test_the_model_is_looked_for_and_the_bytes_are_kept(body: bytes, media: str, model: str) -> None:
    found = asked(body, media)
    assert found.model == model
    assert sent(found, model=model) == ("/rerank", body)


def test_another_name_of_the_model_is_put_in_its_place() -> None:
    assert sent(asked(b'{"model": "m", "top_n": 3}')) == ("/rerank", b'{"model":"target","top_n":3}')
    path, body = sent(asked(AUDIO, FORM, "/v1/audio/transcriptions"))
    assert path == "/audio/transcriptions"
    assert body == AUDIO.replace(b"whisper-1", b"target")
    assert sent(asked(b'{"top_n": 3}')) == ("/rerank", b'{"top_n": 3}'), "a model that was not named is not added"


def test_a_model_in_the_query_counts_and_is_renamed_as_well() -> None:
    found = asked(b"", path="/props", query="model=m&x=%20&y=")
    assert found.model == "m"
    assert sent(found, "llamacpp", "m")[0] == "/props?model=m&x=%20&y="
    assert sent(found, "llamacpp", "a/b c")[0] == "/props?model=a%2Fb+c&x=+&y="
    both = asked(b'{"model":"m"}', query="model=m")
    assert sent(both) == ("/rerank?model=target", b'{"model":"target"}')
    assert sent(asked(b'{"x":1}', query="model=m")) == ("/rerank?model=target", b'{"x":1}')
    for query in ("model=m&model=n", "model=n"):
        with pytest.raises(BadRequest, match="several models"):
            asked(b'{"model":"m"}', query=query)


@pytest.mark.parametrize(
    ("query", "kept", "dropped"),
    [
        ("a=%20&b", "a=%20&b", ()),
        ("key=secret", "", ("key",)),
        ("x=1&API_KEY=s&y=2&access%5Ftoken=t", "x=1&y=2", ("api_key", "access_token")),
        ("model=target&token=s", "model=target", ("token",)),
    ],
)
def test_a_clients_key_stays_behind(query: str, kept: str, dropped: tuple[str, ...]) -> None:
    found = asked(b"", path="/props", query=query)
    call = OpaqueSouth(SOUTHBOUND["llamacpp"], found).encode(opaque.request_of(found, "m"), "target")
    assert (call.path, call.dropped) == (f"/props?{kept}".rstrip("?"), dropped)


@pytest.mark.parametrize("query", ["api_base=http://evil", "x=1&Base%5FURL=http://evil", "host=evil"])
def test_no_query_turns_a_request_elsewhere(query: str) -> None:
    with pytest.raises(BadRequest, match="the owner's to choose"):
        asked(b"", query=query)


def test_a_backend_that_gets_nothing_unread() -> None:
    found = asked(b"{}")
    with pytest.raises(BadRequest, match="nothing is passed on unread"):
        OpaqueSouth(SOUTHBOUND["openai"], found).encode(opaque.request_of(found, "m"), "m", Manner(passthrough=False))


@pytest.mark.parametrize(
    ("body", "media", "unread"),
    [
        (AUDIO, FORM, False),
        (FILE + b"--xyz--\r\n", FORM, True),
        (b"x", "multipart/form-data", True),
        (b"x", "application/octet-stream", True),
        (b"{}", "application/json", False),
        (b"", "", False),
    ],
)
def test_where_a_model_may_hide_is_known(body: bytes, media: str, unread: bool) -> None:
    assert asked(body, media).unread is unread


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        ("openai", "/v1/fim/completions", "/fim/completions"),
        ("llamacpp", "/v1/rerank", "/v1/rerank"),
        ("llamacpp", "/infill", "/infill"),
        ("ollama", "/api/pull", "/api/pull"),
        ("koboldcpp", "/v1/audio/speech", "/v1/audio/speech"),
    ],
)
def test_a_path_lies_below_the_backends_base(kind: str, path: str, expected: str) -> None:
    assert sent(asked(b"{}", path=path, query="a=1&b=%20"), kind)[0] == f"{expected}?a=1&b=%20"


def test_only_two_headers_go_on() -> None:
    call = OpaqueSouth(SOUTHBOUND["openai"], asked(b"{}")).encode(opaque.request_of(asked(b"{}"), "m"), "m")
    assert call.headers == (("Content-Type", "application/json"), ("Accept", "*/*"))


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/../admin", ""),
        ("/v1/./a", ""),
        ("/v1/..", ""),
        ("/v1//evil", ""),
        ("/v1/a b", ""),
        ("/v1/a?b", ""),
        ("/v1/a#b", ""),
        ("/v1/a\\b", ""),
        ("/v1/é", ""),
        ("/v1/a", "a=b c"),
        ("/v1/a", "a=b#c"),
        ("/v1/a", "a\r\nb"),
    ],
)
def test_a_path_that_could_mean_another_is_none(path: str, query: str) -> None:
    with pytest.raises(UnknownPath):
        asked(b"", path=path, query=query)


@pytest.mark.parametrize(
    ("body", "media", "word"),
    [
        (b"{", "application/json", "not valid JSON"),
        (b'{"model": 5}', "application/json", "'model' must be a string"),
        (b'{"model": "m", "api_base": "http://x"}', "application/json", "'api_base' is not passed on"),
        (b"{}", "application/jsön", "ASCII"),
        (part("model", b"a") + part("model", b"b") + b"--xyz--\r\n", FORM, "more than once"),
    ],
)
def test_what_is_refused(body: bytes, media: str, word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        asked(body, media)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_an_answer_is_its_bytes_and_complete_at_its_end() -> None:
    found = asked(b"{}")
    reader = OpaqueSouth(SOUTHBOUND["openai"], found).reader(opaque.request_of(found, "m"), "audio/wav", Limits())
    north = OpaqueNorth(NORTHBOUND["openai"])
    writer = north.writer(opaque.request_of(found, "m"), Identity(stream="s", created=1.0), passthrough=False)
    events = reader.receive(b"\x00\xff") + reader.receive(b"\n")
    assert events == [Opaque(b"\x00\xff", "audio/wav"), Opaque(b"\n", "audio/wav")]
    assert not reader.complete
    assert writer.write(events) + writer.heartbeat() == b"\x00\xff\n"
    assert writer.content_type == "audio/wav"
    assert reader.end() == [Finish(FinishReason.STOP)]
    assert reader.complete
    assert writer.write([Finish(FinishReason.STOP)]) + writer.end(Timing()) + writer.fail(BackendTruncated("x")) == b""
    assert not writer.clean_failure


@pytest.mark.parametrize(
    ("status", "body", "shown", "own"),
    [
        (400, b'{"error":  {"message": "bad"}}', 400, True),
        (503, b'{"detail": "busy"}', 503, True),
        (404, b"<html>not here</html>", 404, False),
        (401, b'{"error": "key"}', 502, False),
        (302, b"{}", 502, False),
    ],
)
def test_a_backends_own_error_goes_on_where_it_is_meant_for_the_client(
    status: int, body: bytes, shown: int, own: bool
) -> None:
    error = OpaqueSouth(SOUTHBOUND["openai"], asked(b"{}")).refusal(status, body)
    assert error.status == shown
    told = OpaqueNorth(NORTHBOUND["openai"]).error(error)
    assert (told == body) is own
    assert told == body or b'"type":' in told
