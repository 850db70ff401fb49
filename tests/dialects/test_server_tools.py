"""Tools that a server runs itself: they go on to a backend of the client's own language, and to no other.

Those that would have it call an address of the client's choice, or use the client's key there, go nowhere.
"""

from __future__ import annotations

import json

import pytest

from asking import LANGUAGES
from penstock.config.model import Manner
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.dialects.responses import south_for

RESPONSES = (
    {"type": "web_search", "user_location": {"type": "approximate", "country": "AT"}},
    {"type": "file_search", "vector_store_ids": ["vs_1"]},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "computer_use_preview", "display_width": 1024, "display_height": 768, "environment": "browser"},
    {"type": "image_generation"},
    {"type": "mcp", "server_label": "calendar", "connector_id": "connector_googlecalendar"},
)
ANTHROPIC = (
    {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
    {"type": "code_execution_20250825", "name": "code_execution"},
    {"type": "computer_20250124", "name": "computer", "display_width_px": 1024, "display_height_px": 768},
    {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
)
OPENAI = ({"type": "custom", "custom": {"name": "grammar"}},)
#: Client's language, tools, a kind of backend that has them, and one that has not.
LANGUAGE = [
    pytest.param("responses", RESPONSES, "vllm", "openai", id="responses"),
    pytest.param("anthropic", ANTHROPIC, "anthropic", "llamacpp", id="anthropic"),
    pytest.param("openai", OPENAI, "openai", "ollama", id="openai"),
]
MCP = {"type": "mcp", "server_label": "notes", "server_url": "https://notes.example"}


def sent(north: str, kind: str, **said: object) -> tuple[dict[str, object], set[str]]:
    """What a backend is told of a request that says this, and what it is not."""
    request = NORTHBOUND[north].parse("chat", LANGUAGES[north].asked({"model": "m", **said}))
    south = SOUTHBOUND[kind]
    if north == "responses":
        south = south_for(request, south, Manner())
    call = south.encode(request, "m")
    return json.loads(call.body), set(call.dropped)


@pytest.mark.parametrize(("north", "tools", "same", "other"), LANGUAGE)
def test_in_the_same_language_they_go_on_untouched(
    north: str, tools: tuple[object, ...], same: str, other: str
) -> None:
    body, dropped = sent(north, same, tools=list(tools))
    assert body["tools"] == list(tools)
    assert not any(name.startswith("tools") for name in dropped)


@pytest.mark.parametrize(("north", "tools", "same", "other"), LANGUAGE)
def test_in_another_they_are_left_out_by_name(north: str, tools: tuple[object, ...], same: str, other: str) -> None:
    body, dropped = sent(north, other, tools=list(tools))
    assert "tools" not in body
    assert {f"tools[{number}]" for number in range(len(tools))} <= dropped


@pytest.mark.parametrize(
    "tool",
    [
        MCP,
        {**MCP, "headers": {"x-key": "secret"}},
        {"type": "mcp", "server_label": "calendar", "connector_id": "connector_googlecalendar", "authorization": "key"},
    ],
    ids=["an address", "headers", "a key"],
)
def test_what_leads_elsewhere_goes_nowhere(tool: dict[str, object]) -> None:
    search = {"type": "web_search"}
    choice = {"type": "mcp", "server_label": "notes"}
    body, dropped = sent("responses", "vllm", tools=[search, tool], tool_choice=choice)
    assert (body["tools"], dropped) == ([search], {"tools[1]", "tool_choice"})
    assert "tool_choice" not in body


def test_a_choice_of_another_tool_stays() -> None:
    search = {"type": "web_search"}
    body, dropped = sent("responses", "vllm", tools=[search, MCP], tool_choice=search)
    assert (body["tool_choice"], dropped) == (search, {"tools[1]"})


def test_no_tools_are_better_than_an_empty_list() -> None:
    """…which servers refuse, and so they do a choice among none."""
    body, dropped = sent("responses", "vllm", tools=[MCP], tool_choice="required")
    assert not {"tools", "tool_choice"} & body.keys()
    assert dropped == {"tools[0]", "tool_choice"}


def test_anthropics_servers_go_with_the_tools_that_name_them() -> None:
    """A toolset whose server nobody knows is refused, the whole request with it."""
    servers = [{"type": "url", "url": "https://notes.example", "name": "notes", "authorization_token": "secret"}]
    tools = [{"type": "mcp_toolset", "mcp_server_name": "notes"}, ANTHROPIC[0]]
    body, dropped = sent("anthropic", "anthropic", tools=tools, mcp_servers=servers)
    assert body["tools"] == [ANTHROPIC[0]]
    assert dropped == {"mcp_servers", "tools[0]"}
    assert "mcp_servers" not in body
