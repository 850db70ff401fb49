"""What of each client's language gets through to each kind of backend, and back: the one table.

The tests of this folder ask every cell of it, and docs/dialects.md is made from it.  A cell that no rule names carries
everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from matrix.clients import CLIENTS
from penstock.config.model import BackendKind

KINDS: tuple[BackendKind, ...] = ("openai", "llamacpp", "lmstudio", "vllm", "ollama", "koboldcpp", "anthropic")
#: Those that differ from another kind in words that no cell is about: everyday tests ask a few of their cells only.
VARIANTS = ("lmstudio", "vllm")

#: What can be said or told, in words.
FEATURES = {
    "text": "text",
    "tools": "tools and their calls",
    "results": "results of tools",
    "image": "images",
    "schema": "JSON schemas",
    "sampling": "length with temperature and stop sequences",
    "thinking": "thinking",
    "usage": "counts of tokens",
}

How = Literal["refused", "dropped", "partly", "unread", "untold"]

#: What becomes of it, in words.
HOW: dict[How, str] = {
    "refused": "refused with 400",
    "dropped": "left out, and named in `x-penstock-dropped`",
    "partly": "told but for what `x-penstock-dropped` names",
    "unread": "passed on unread, as a field of which penstock knows nothing",
    "untold": "not told to the client",
}


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of these features in the cells of these clients and kinds of backends, and why."""

    clients: tuple[str, ...]
    kinds: tuple[str, ...]
    features: tuple[str, ...]
    how: How
    why: str
    #: of what is told ``partly``: what is not
    names: tuple[str, ...] = ()
    #: of what is ``refused``: a part of the message
    says: str = ""


_OPENAI = ("openai", "llamacpp", *VARIANTS)
_OTHERS = {kind: tuple(other for other in KINDS if other != kind) for kind in KINDS}

RULES = (
    Rule(
        clients=("OpenAI completions", "KoboldCpp generate", "fill in the middle"),
        kinds=("anthropic",),
        features=tuple(FEATURES),
        how="refused",
        why="Anthropic's language only chats, and has no place for a bare prompt",
        says="answers chats and nothing else",
    ),
    Rule(
        clients=("fill in the middle",),
        kinds=VARIANTS,
        features=tuple(FEATURES),
        how="refused",
        why="it would continue the text, or refuses the suffix; `fim` says otherwise of one backend",
        says="cannot fill in the middle",
    ),
    Rule(
        clients=("fill in the middle",),
        kinds=("koboldcpp",),
        features=tuple(FEATURES),
        how="refused",
        why="KoboldCpp has no field for a suffix",
        says="cannot fill in the middle",
    ),
    Rule(
        clients=("OpenAI completions",),
        kinds=("ollama", "koboldcpp"),
        features=("tools", "results", "image", "schema"),
        how="dropped",
        why="completions have no field for it",
    ),
    Rule(
        clients=("OpenAI completions",),
        kinds=_OPENAI,
        features=("tools", "results", "image", "schema"),
        how="unread",
        why="completions have no field for it, but the backend speaks the client's language",
    ),
    Rule(
        clients=("fill in the middle",),
        kinds=("openai", "llamacpp"),
        features=("tools", "results", "image", "schema"),
        how="unread",
        why="completions have no field for it, but the backend speaks the client's language",
    ),
    Rule(
        clients=("fill in the middle",),
        kinds=("ollama",),
        features=("tools", "results", "image", "schema"),
        how="dropped",
        why="completions have no field for it",
    ),
    Rule(
        clients=("fill in the middle",),
        kinds=("openai", "llamacpp"),
        features=("thinking",),
        how="untold",
        why="the backend's language has no place for it",
    ),
    Rule(
        clients=("KoboldCpp generate",),
        kinds=(*_OPENAI, "ollama"),
        features=("tools", "results", "schema"),
        how="dropped",
        why="KoboldCpp's generate has no field for it",
    ),
    Rule(
        clients=("KoboldCpp generate",),
        kinds=_OPENAI,
        features=("image",),
        how="dropped",
        why="a prompt goes to completions, which take no images",
    ),
    Rule(
        clients=("KoboldCpp generate",),
        kinds=("koboldcpp",),
        features=("tools", "results", "schema"),
        how="unread",
        why="KoboldCpp's generate has no field for it, but the backend speaks the client's language",
    ),
    Rule(
        clients=("Ollama generate",),
        kinds=_OTHERS["ollama"],
        features=("tools", "results"),
        how="dropped",
        why="Ollama's generate has no field for it",
    ),
    Rule(
        clients=("Ollama generate",),
        kinds=("ollama",),
        features=("tools", "results"),
        how="unread",
        why="Ollama's generate has no field for it, but the backend speaks the client's language",
    ),
    Rule(
        clients=("OpenAI chat", "LM Studio chat", "OpenAI Responses", "typed events", "WebSocket chats"),
        kinds=("ollama",),
        features=("schema",),
        how="partly",
        names=("response_format.json_schema.name",),
        why="Ollama's `format` is the bare schema",
    ),
    Rule(
        clients=("OpenAI Responses",),
        kinds=tuple(kind for kind in KINDS if kind not in VARIANTS),
        features=("sampling",),
        how="partly",
        names=("stop",),
        why="the Responses API has no stop sequences",
    ),
    Rule(
        clients=("OpenAI Responses",),
        kinds=VARIANTS,
        features=("sampling",),
        how="unread",
        why="the Responses API has no stop sequences, but the backend has that API itself, and everything is passed on",
    ),
    Rule(
        clients=("OpenAI completions", "KoboldCpp generate"),
        kinds=_OTHERS["anthropic"],
        features=("thinking",),
        how="untold",
        why="the client's language has no place for it",
    ),
    Rule(
        clients=("KoboldCpp generate",),
        kinds=_OTHERS["anthropic"],
        features=("usage",),
        how="untold",
        why="streams of KoboldCpp's language have no counts; whole answers have them",
    ),
)


def rules_of(client: str, kind: str) -> Iterator[Rule]:
    """The rules of one cell."""
    return (rule for rule in RULES if client in rule.clients and kind in rule.kinds)


def rule_of(client: str, kind: str, feature: str | None) -> Rule | None:
    """What is lost of a feature in one cell; None: nothing."""
    found = [rule for rule in rules_of(client, kind) if (feature or "text") in rule.features]
    assert len(found) <= 1, f"{client} to {kind} has two rules for {feature}"
    return found[0] if found else None


def dropped(client: str, kind: str, feature: str | None) -> str | None:
    """The header ``x-penstock-dropped`` of an answer, where the request said this and nothing else."""
    rule = rule_of(client, kind, feature)
    if rule is None or rule.how in ("unread", "untold"):
        return None
    return ", ".join(rule.names or CLIENTS[client].says[feature or ""])


def page() -> str:
    """The table and its notes as they stand in docs/dialects.md."""
    cells = [[client, *(_cell(client, kind) for kind in KINDS)] for client in CLIENTS]
    notes = [[str(number), _features(rule), _fate(rule), rule.why] for number, rule in enumerate(RULES, start=1)]
    return "\n\n".join(
        [
            f"*All* is {', '.join(FEATURES.values())}.",
            _table(["client", *(f"`{kind}`" for kind in KINDS)], cells),
            _table(["note", "what", "what becomes of it", "why"], notes),
        ]
    )


def _cell(client: str, kind: str) -> str:
    notes = [number for number, rule in enumerate(RULES, start=1) if client in rule.clients and kind in rule.kinds]
    if not notes:
        return "all"
    nothing = any(rule.how == "refused" for rule in rules_of(client, kind))
    return f"{'nothing' if nothing else 'all but'}: {', '.join(map(str, notes))}"


def _features(rule: Rule) -> str:
    return "all" if len(rule.features) == len(FEATURES) else ", ".join(FEATURES[name] for name in rule.features)


def _fate(rule: Rule) -> str:
    return HOW[rule.how] + (f": {', '.join(f'`{name}`' for name in rule.names)}" if rule.names else "")


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join([f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]])
