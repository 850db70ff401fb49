"""A client's own body for a backend of the same dialect: all of it, but for what would turn the request elsewhere, and
for what has broken servers.

Elsewhere lead the names by which gateways and client libraries take other servers, other headers, and other people's
keys for them (CVE-2024-6587 in LiteLLM, whose ``user_config`` is a whole list of deployments).  What stands in
``extra_body`` is put into the body itself by such a server, so it goes by the same rule; so do the tools that a server
calls at an address of the client's choice, or with a key of the client's: ``mcp`` in OpenAI's Responses API, and in
Anthropic's ``mcp_toolset``, which names one of ``mcp_servers``.  All other tools that a server runs itself go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import unquote_plus

ADDRESSES = frozenset(
    {
        "api_base",
        "api_type",
        "api_version",
        "azure_endpoint",
        "base_url",
        "custom_llm_provider",
        "default_headers",
        "endpoint",
        "extra_headers",
        "extra_query",
        "fallbacks",
        "headers",
        "host",
        "hostname",
        "litellm_params",
        "mcp_servers",
        "model_list",
        "organization",
        "proxies",
        "proxy",
        "server_url",
        "url",
        "user_config",
    }
)
#: A client's key is for penstock, and for nobody behind it.
KEYS = frozenset({"access_token", "api_key", "apikey", "authorization", "key", "token", "x-api-key"})
_FORBIDDEN = ADDRESSES | KEYS - {"key", "token"}
#: A program for the server's template engine, which vLLM takes from trusted clients only.
_PROGRAMS = frozenset({"chat_template"})
#: Switches of a model's template are told; these are parameters of the function that runs it (CVE-2025-62426 in vLLM).
_SWITCHES = "chat_template_kwargs"
_NO_SWITCHES = frozenset({"chat_template", "conversation", "documents", "return_dict", "return_tensors", "tokenize"})
#: Numbers of llama.cpp's server that it has not checked itself, and the least that it can do with (CVE-2026-21869).
_LEAST = {"id_slot": -1, "min_keep": 0, "n_discard": 0, "n_indent": 0, "n_keep": -1, "n_probs": 0}
#: Where more fields of the body stand.
_INNER = "extra_body"


def allowed(body: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """The body that may go on, and the dotted names of what was left out of it."""
    kept, dropped = _clean(body, "")
    inner = kept.get(_INNER)
    if isinstance(inner, dict):
        kept[_INNER], more = _clean(inner, f"{_INNER}.")
        dropped += more
    tools = kept.get("tools")
    if isinstance(tools, list):
        dropped += _clean_tools(kept, tools)
    return kept, dropped


def query(text: str) -> tuple[str, list[str]]:
    """A query without the client's keys, and their names; all else stands as it was written."""
    parts = text.split("&")
    kept = [part for part in parts if name_of(part) not in KEYS]
    return "&".join(kept), [name_of(part) for part in parts if part not in kept]


def addresses(names: Iterable[str]) -> list[str]:
    """Those of the names that stand for other servers."""
    return [name for name in names if name.lower() in ADDRESSES]


def name_of(part: str) -> str:
    """The name in one ``name=value`` of a query, in lower case."""
    return unquote_plus(part.partition("=")[0]).lower()


def _clean(body: Mapping[str, object], where: str) -> tuple[dict[str, object], list[str]]:
    kept = {key: value for key, value in body.items() if not _is_barred(key.lower(), value)}
    dropped = [where + key for key in body if key not in kept]
    switches = kept.get(_SWITCHES)
    if isinstance(switches, dict) and (barred := _NO_SWITCHES & switches.keys()):
        kept[_SWITCHES] = {name: value for name, value in switches.items() if name not in barred}
        dropped += [f"{where}{_SWITCHES}.{name}" for name in sorted(barred)]
    return kept, dropped


def _clean_tools(kept: dict[str, object], tools: list[object]) -> list[str]:
    """Leave out the tools that lead elsewhere, and a choice that is left without its tool; what was left out."""
    sent = [number for number, tool in enumerate(tools) if isinstance(tool, dict) and _leads_elsewhere(tool)]
    if not sent:
        return []
    dropped = [f"tools[{number}]" for number in sent]
    kept["tools"] = [tool for number, tool in enumerate(tools) if number not in sent]
    choice = kept.get("tool_choice")
    if not kept["tools"]:
        del kept["tools"]
    if choice is not None and ("tools" not in kept or (isinstance(choice, dict) and choice.get("type") == "mcp")):
        del kept["tool_choice"]
        dropped.append("tool_choice")
    return dropped


def _leads_elsewhere(tool: dict[str, object]) -> bool:
    return bool(_FORBIDDEN & tool.keys()) or tool.get("type") == "mcp_toolset"


def _is_barred(key: str, value: object) -> bool:
    least = _LEAST.get(key)
    return (
        key in _FORBIDDEN
        or key in _PROGRAMS
        or (least is not None and not (isinstance(value, int | float) and least <= value < 2**31))
    )
