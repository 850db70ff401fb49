"""Lists of models, from Ollama servers and for Ollama clients."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ollama import ListResponse, ProcessResponse, ShowResponse

from penstock.chat.models import Model
from penstock.dialects import ollama_models
from penstock.dialects.base import Call
from penstock.dialects.ollama import ollama_south
from penstock.errors import BackendGarbled, BadRequest

ENTRY: dict[str, Any] = {
    "name": "qwen:7b",
    "model": "qwen:7b",
    "modified_at": "2026-09-10T02:26:40.123456789+02:00",
    "size": 4700000000,
    "digest": "dae161e2",
    "details": {
        "parent_model": "",
        "format": "gguf",
        "family": "qwen2",
        "families": ["qwen2"],
        "parameter_size": "7.6B",
        "quantization_level": "Q4_K_M",
        "context_length": 40960,
    },
    "capabilities": ["completion", "insert"],
    "new": 1,
}
QWEN = Model(
    name="qwen:7b",
    created=1789000000,
    size=4700000000,
    digest="dae161e2",
    family="qwen2",
    parameter_size="7.6B",
    quantization="Q4_K_M",
    format="gguf",
    context_length=40960,
    capabilities=("completion", "insert"),
    entry=ENTRY,
)


def listed(*entries: Any) -> list[Model]:
    return ollama_south.models(json.dumps({"models": entries}).encode())


def test_a_server_s_list() -> None:
    assert ollama_south.models_call() == Call(method="GET", path="/api/tags")
    assert listed(ENTRY) == [QWEN]
    assert listed() == []
    assert ollama_south.models(b'{"models":null}') == []


INCOMPLETE = {
    "only a name": ({"name": "a"}, Model(name="a")),
    "only a model": ({"model": "a"}, Model(name="a")),
    "details null": ({"name": "a", "details": None, "size": 1}, Model(name="a", size=1)),
    "other types": (
        {
            "name": "a",
            "modified_at": 1,
            "size": "1",
            "digest": 1,
            "capabilities": "x",
            "details": {"context_length": 0},
        },
        Model(name="a"),
    ),
}


@pytest.mark.parametrize(("entry", "model"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_incomplete_entries(entry: dict[str, Any], model: Model) -> None:
    assert listed(entry) == [model]


@pytest.mark.parametrize("missing", ["model", "modified_at", "size", "digest", "details"])
def test_an_entry_that_lacks_a_field_is_not_sent_on(missing: str) -> None:
    (model,) = listed({key: value for key, value in ENTRY.items() if key != missing})
    assert model.entry is None
    tags(model)


@pytest.mark.parametrize("missing", ["parent_model", "format", "family", "families", "parameter_size"])
def test_nor_one_that_lacks_a_detail(missing: str) -> None:
    details = {key: value for key, value in ENTRY["details"].items() if key != missing}
    (model,) = listed(ENTRY | {"details": details})
    assert model.entry is None
    tags(model)


def test_items_without_a_name_are_none() -> None:
    assert listed({}, {"name": ""}, {"name": 1}, "x", None, {"name": "a"}) == [Model(name="a")]


@pytest.mark.parametrize(
    ("body", "layer"), [(b"<html>", "parse"), (b"[]", "schema"), (b"{}", "schema"), (b'{"models":{}}', "schema")]
)
def test_garbled_lists(body: bytes, layer: str) -> None:
    with pytest.raises(BackendGarbled) as caught:
        ollama_south.models(body)
    assert caught.value.layer == layer


# --- for clients

BARE = Model(name="cloud/big")


def tags(*models: Model) -> list[dict[str, Any]]:
    """The entries, each with all that the strictest clients ask for."""
    data = ollama_models.tags(models)
    assert len(ListResponse.model_validate_json(data).models) == len(models)
    entries: list[dict[str, Any]] = json.loads(data)["models"]
    for entry in entries:
        for key, kind in {"name": str, "model": str, "modified_at": str, "size": int, "digest": str}.items():
            assert type(entry[key]) is kind, key
        details = entry["details"]
        for key in ("parent_model", "format", "family", "parameter_size", "quantization_level"):
            assert type(details[key]) is str, key
        assert details["families"] == [details["family"]]
    return entries


def test_tags() -> None:
    own, bare = tags(QWEN, BARE)
    assert own == ENTRY
    assert bare == {
        "name": "cloud/big",
        "model": "cloud/big",
        "modified_at": "1970-01-01T00:00:00.000000000Z",
        "size": 0,
        "digest": bare["digest"],
        "details": {
            "parent_model": "",
            "format": "unknown",
            "family": "unknown",
            "families": ["unknown"],
            "parameter_size": "unknown",
            "quantization_level": "unknown",
        },
        "capabilities": ["completion", "tools"],
    }


def test_an_entry_of_another_dialect_is_not_sent_on() -> None:
    (entry,) = tags(Model(name="a", entry={"id": "a", "name": "a", "object": "model"}))
    assert "object" not in entry


def test_every_name_has_its_digest() -> None:
    entries = tags(QWEN, Model(name="coder", digest="dae161e2", entry=ENTRY), BARE, Model(name="other"))
    assert len({entry["digest"] for entry in entries}) == 4
    assert entries == tags(QWEN, Model(name="coder", entry=ENTRY, digest="dae161e2"), BARE, Model(name="other"))
    assert all(len(entry["digest"]) == 64 for entry in entries[1:])


def test_show() -> None:
    data = ollama_models.show(QWEN)
    ShowResponse.model_validate_json(data)
    assert json.loads(data) == {
        "license": "",
        "modelfile": "FROM qwen:7b\n",
        "parameters": "num_ctx 40960",
        "template": "{{ .Prompt }}",
        "details": {key: value for key, value in ENTRY["details"].items() if key != "context_length"},
        "model_info": {
            "general.architecture": "qwen2",
            "general.basename": "qwen:7b",
            "qwen2.context_length": 40960,
        },
        "capabilities": ["completion", "insert"],
        "modified_at": "2026-09-10T00:26:40.000000000Z",
    }


def test_show_of_a_model_of_which_nothing_is_known() -> None:
    shown = json.loads(ollama_models.show(BARE))
    assert shown["capabilities"] == ["completion", "tools"]
    assert shown["parameters"] == ""
    architecture = shown["model_info"]["general.architecture"]
    assert shown["model_info"][f"{architecture}.context_length"] == 32768


def test_ps() -> None:
    data = ollama_models.ps([QWEN, BARE], 1789000000)
    assert len(ProcessResponse.model_validate_json(data).models) == 2
    entry, bare = json.loads(data)["models"]
    more = {"expires_at": "2026-09-10T00:26:40.000000000Z", "size_vram": 0}
    assert entry == ENTRY | more | {"context_length": 40960}
    assert (bare["name"], bare["context_length"]) == ("cloud/big", 32768)


def test_version() -> None:
    told = json.loads(ollama_models.version())
    assert tuple(map(int, told["version"].split("."))) >= (0, 6, 4)


@pytest.mark.parametrize("body", [b'{"model":"a"}', b'{"name":"a"}', b'{"model":"a","name":"b","verbose":true}'])
def test_show_request(body: bytes) -> None:
    assert ollama_models.show_request(body) == "a"


@pytest.mark.parametrize("body", [b"{}", b'{"name":""}', b'{"model":1}'])
def test_show_request_without_a_name(body: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        ollama_models.show_request(body)
    assert caught.value.param == "model"
