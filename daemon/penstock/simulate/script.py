"""What a request asks the stand-in to do, and the compact grammar it is written in.

``sim:tokens=200,rate=50,first=300ms,fault=silence@10`` as the model name, or the same with or without ``sim:`` in the
header ``x-simulate``, which wins.  The fields of :class:`Script` are the grammar: their names (with ``-`` for ``_``),
types, bounds and descriptions are what the parser, the help and docs/simulate.md go by.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

from penstock.simulate.faults import KINDS, Fault

#: What a model name starts with when it is a script.
PREFIX = "sim:"

#: A whole (not streamed) answer is built in memory: at most this many tokens.
WHOLE_TOKENS = 1_000_000

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_BYTES = {"k": 1024, "M": 1024 * 1024, "": 1}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([a-zA-Z]*)")


def _about(line: str, unit: dict[str, Any] | None = None, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=line, extra={"unit": unit}, **bounds)


class BadScript(ValueError):
    """The text is no script; the message says which part and what was perhaps meant."""


class Script(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """One answer, as asked for.  Durations are seconds here and ``300ms``, ``2s``, ``1.5m`` in the grammar."""

    # what is generated
    tokens: Annotated[int, _about("content tokens", ge=0, le=10**9)] = 16
    thinking: Annotated[int, _about("thinking tokens before the content", ge=0, le=10**9)] = 0
    tools: Annotated[int, _about("tool calls after the content", ge=0, le=128)] = 0
    fragments: Annotated[int, _about("argument fragments of one tool call (OpenAI, Anthropic)", ge=1, le=4096)] = 4
    tools_in: Annotated[
        Literal["middle", "final"], _about("where Ollama puts tool calls: lines of their own, or the final line")
    ] = "middle"
    text: Annotated[
        Literal["counting", "clock", "awkward"],
        _about("` t0 t1 …`, the monotonic clock in ns at each write, or counting with newlines, quotes and UTF-8"),
    ] = "counting"
    width: Annotated[int, _about("bytes of text a token, padded with `.`", _BYTES, ge=0, le=2**20)] = 0
    reasoning: Annotated[
        Literal["reasoning_content", "reasoning", "both"], _about("field of the thinking tokens (OpenAI)")
    ] = "reasoning_content"
    finish: Annotated[str, _about("finish reason instead of `stop` or `tool_calls`", max_length=64)] = ""
    prompt: Annotated[int, _about("prompt tokens to report; by default one per character of the prompt", ge=-1)] = -1
    usage: Annotated[
        Literal["auto", "none", "end", "every", "null", "choices"],
        _about("usage as asked; never; at the end; on every chunk; null until the end; beside non-empty choices"),
    ] = "auto"
    # when
    headers: Annotated[
        float, _about("delay of the head; by default 0 for OpenAI, `first` for Ollama", _SECONDS, ge=-1, le=86400)
    ] = -1.0
    first: Annotated[float, _about("delay of the first token", _SECONDS, ge=0, le=86400)] = 0.0
    rate: Annotated[float, _about("tokens per second; 0: as fast as possible", ge=0, le=10**6)] = 0.0
    burst: Annotated[int, _about("tokens per write; 0: one, or large writes at rate 0", ge=0, le=65536)] = 0
    ping: Annotated[float, _about("sign of life after this much silence; 0: none", _SECONDS, ge=0, le=86400)] = 0.0
    comment: Annotated[str, _about("text of the SSE comment that is a ping; else a bare `:`", max_length=256)] = ""
    progress: Annotated[int, _about("`prompt_progress` chunks before the first token (OpenAI)", ge=0, le=10**6)] = 0
    # how
    http10: Annotated[bool, _about("answer as HTTP/1.0, the body delimited by the close")] = False
    status: Annotated[int, _about("answer with this error status instead", ge=400, le=599)] | None = None
    retry_after: Annotated[float, _about("`Retry-After` of an error status, seconds", _SECONDS, ge=0)] | None = None
    times: Annotated[int, _about("how often `loading` refuses", ge=1, le=10**6)] = 1
    size: Annotated[int, _about("bytes of what `huge` and `huge-head` send", _BYTES, ge=0, le=2**30)] = 8 * 2**20
    gap: Annotated[float, _about("pause between the parts of `dribble` and `split`", _SECONDS, ge=0, le=60)] = 0.001
    id: Annotated[str, _about("name of the stream in the records", max_length=128)] = ""
    # what goes wrong
    fault: Annotated[tuple[Fault, ...], _about("`NAME` or `NAME@N`, may be repeated")] = ()

    def has(self, name: str) -> bool:
        return any(fault.name == name for fault in self.fault)

    @property
    def placed(self) -> list[Fault]:
        """The faults that happen at a token, in their order."""
        return sorted((fault for fault in self.fault if KINDS[fault.name].placed), key=lambda fault: fault.at)


def parameters() -> dict[str, tuple[str, str]]:
    """Every parameter of the grammar: name -> (default as written, description)."""
    table = {}
    for field in msgspec.inspect.type_info(Script).fields:  # type: ignore[attr-defined]
        default = "" if field.default in ((), None, -1, -1.0) else str(field.default).lower()
        table[field.encode_name] = (default.removesuffix(".0"), _meta(field.type)["description"])
    return table


def parse(text: str) -> Script:
    """``tokens=5,fault=cut@3``, with or without ``sim:`` -> Script.  Raises BadScript."""
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for part in filter(None, text.removeprefix(PREFIX).strip().split(",")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name == "fault":
            faults.append(_fault(value))
        elif name not in _UNITS:
            raise BadScript(f"unknown parameter {name!r}{_near(name, _UNITS)}")
        elif not equals and name != "http10":
            raise BadScript(f"parameter {name!r} has no value; write {name}=…")
        else:
            values[name] = _quantity(name, value, _UNITS[name]) if equals else "true"
    try:
        return msgspec.convert(values | {"fault": faults}, Script, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        raise BadScript(f"parameter {path.rstrip('`')!r}: {reason[0].lower()}{reason[1:]}") from None


def _fault(text: str) -> Fault:
    name, placed, position = text.partition("@")
    if name not in KINDS:
        raise BadScript(f"unknown fault {name!r}{_near(name, KINDS)}")
    if not placed:
        return Fault(name)
    if not KINDS[name].placed:
        raise BadScript(f"fault {name!r} concerns the whole answer; write it without @{position}")
    if not position.isascii() or not position.isdigit() or len(position) > 9:
        raise BadScript(f"fault {text!r}: after the @ stands the number of tokens before it")
    return Fault(name, int(position))


def _quantity(name: str, value: str, units: dict[str, Any] | None) -> str:
    if units is None:
        return value
    match = _QUANTITY.fullmatch(value)
    if match is None or match[2] not in units:
        known = ", ".join(unit for unit in units if unit)
        raise BadScript(f"parameter {name!r}: expected a number, perhaps with one of {known}; got {value!r}")
    scaled = float(match[1]) * units[match[2]]
    return str(int(scaled) if units is _BYTES else scaled)


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(sorted(known))}"


def _meta(kind: Any) -> dict[str, Any]:
    """The Meta of a field's type, also where it is one side of ``| None``."""
    if isinstance(kind, msgspec.inspect.UnionType):
        kind = next(side for side in kind.types if isinstance(side, msgspec.inspect.Metadata))
    return {**(kind.extra or {}), **kind.extra_json_schema}


_UNITS: dict[str, dict[str, Any] | None] = {
    field.encode_name: _meta(field.type)["unit"]
    for field in msgspec.inspect.type_info(Script).fields  # type: ignore[attr-defined]
}
