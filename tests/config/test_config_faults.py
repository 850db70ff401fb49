"""Texts and exactly what is told of them."""

from __future__ import annotations

import pytest

from penstock.config.faults import FaultyFile, blot, did_you_mean, dotted, quoted
from penstock.config.load import loads

BACKEND = '[backends.ollama]\nkind = "ollama"\nurl = "http://127.0.0.1:11434"\n'

GOLDEN: dict[str, tuple[str, list[str]]] = {
    # --- not TOML
    "unquoted duration": (
        "[server]\ndrain = 10s",
        [
            "2:11: server.drain: expected newline or end of document after a statement; "
            "text, durations and sizes stand in quotes"
        ],
    ),
    "unquoted text": (
        "[server]\nlog_level = info  # loud",
        [
            "2:16: server.log_level: expected newline or end of document after a statement; "
            "text, durations and sizes stand in quotes"
        ],
    ),
    "no value": ("[server]\ndrain =\n", ["2:8: server.drain: invalid value"]),
    "no equals sign": ("[server]\ndrain 5", ["2:7: expected '=' after a key in a key/value pair"]),
    "no key": ("[server]\ndrain = 1\n= 2", ["3:1: invalid statement"]),
    "no comma": (
        '[server]\nlisten = ["127.0.0.1:1" "127.0.0.1:2"]',
        ["2:25: server.listen[0]: unclosed array"],
    ),
    "broken text": ('[server]\nlog_level = "info\n', ["2:18: server.log_level: illegal character '\\n'"]),
    "broken boolean": (
        "[server]\ndrain = tru",
        ["2:9: server.drain: invalid value; text, durations and sizes stand in quotes"],
    ),
    "text without end": ('log = """\ninfo', ["2:5: unterminated string"]),
    "nesting": ("a = " + "[" * 500, ["1:1: arrays and tables are nested too deep"]),
    # --- twice
    "key twice": ("[server]\ndrain = 1\n\ndrain = 2", ["4:1: server.drain: is set twice, first on line 2"]),
    "table twice": ("[server]\n[limits]\n[server]", ["3:2: server: is set twice, first on line 1"]),
    "inline key twice": (
        "timeouts = { queue = 1, queue = 2 }",
        ["1:25: timeouts.queue: is set twice, first on line 1"],
    ),
    "table and dotted key": ("limits.queue = 1\nlimits = {}", ["2:1: limits: is set twice, first on line 1"]),
    # --- keys
    "unknown key": ("[server]\nheartbeet = 1", ['2:1: server.heartbeet: unknown key; did you mean "heartbeat"?']),
    "unknown table": (
        '[backend.ollama]\nkind = "ollama"',
        ['1:2: backend: unknown key; did you mean "backends"?'],
    ),
    "unknown key like none": (
        "[server]\nzzz = 1",
        [
            "2:1: server.zzz: unknown key; known: listen, allowed_hosts, allowed_origins, heartbeat, grace, drain, "
            "log_level, log_format, log_content",
        ],
    ),
    "unknown inline key": (
        BACKEND + "timeouts = { first-token = 1, total = 9 }",
        ['4:14: backends.ollama.timeouts.first-token: unknown key; did you mean "first_token"?'],
    ),
    "missing keys": (
        "[backends.a]\nslots = 2\n[backends]\nb = { kind = 'ollama' }",
        [
            "1:11: backends.a.kind: is missing: the language it speaks",
            '1:11: backends.a.url: is missing: where it is, for example "http://127.0.0.1:11434"',
            '4:1: backends.b.url: is missing: where it is, for example "http://127.0.0.1:11434"',
        ],
    ),
    "missing targets": (
        '[routes.fim]\nclass = "chat"',
        ['1:9: routes.fim.targets: is missing: "BACKEND" (same model name) or "BACKEND/MODEL", tried in this order'],
    ),
    # --- types
    "wrong types": (
        "server = 1\nbackends = []\n[timeouts]\nqueue = []\nwrite = true\nconnect = 07:32:00\n"
        "[limits]\nbody = {}\nqueue = 1.5\ndepth = '9'\nconnections = 1979-05-27",
        [
            "1:10: server: must be a table, not a whole number",
            "2:12: backends: must be a table, not a list",
            '4:9: timeouts.queue: must be a duration such as "90s", not a list',
            '5:9: timeouts.write: must be a duration such as "90s", not true or false',
            '6:11: timeouts.connect: must be a duration such as "90s", not a time',
            '8:8: limits.body: must be a size such as "16MiB", not a table',
            "9:9: limits.queue: must be a whole number, not a number with a fraction",
            "10:9: limits.depth: must be a whole number, not text",
            "11:15: limits.connections: must be a whole number, not a date",
        ],
    ),
    "wrong types of text": (
        "[server]\nlisten = 11435\nlog_level = 3\nlog_format = []",
        [
            "2:10: server.listen: must be a list, not a whole number",
            '3:13: server.log_level: must be "debug" or "error" or "info" or "warning", not a whole number',
            '4:14: server.log_format: must be "console" or "json", not a list',
        ],
    ),
    "wrong item": ("[server]\nlisten = [\n  11435,\n]", ["3:3: server.listen[0]: must be text, not a whole number"]),
    "text for a route": (
        BACKEND + '[routes]\n"*" = "ollama"',
        ['5:7: routes."*": must be a list of targets such as ["ollama"], or a table, not text'],
    ),
    # --- ranges and choices
    "out of range": (
        "[timeouts]\ntotal = 0\nqueue = -5.0\nsilence = '0s'\nwrite = nan\nfirst_token = inf\n"
        f"[limits]\ndepth = 513\nline = 5\nqueue = -1\nidle_connections = {2**63}\nheaders = '100B'\n"
        "[server]\ngrace = -0.1",
        [
            "2:9: timeouts.total: must be above 0s, not 0s",
            "3:9: timeouts.queue: must be above 0s, not -5s",
            "4:11: timeouts.silence: must be above 0s, not 0s",
            "5:9: timeouts.write: is out of range",
            "6:15: timeouts.first_token: is out of range",
            "8:9: limits.depth: must be at most 512, not 513",
            "9:8: limits.line: must be at least 1KiB, not 5B",
            "10:9: limits.queue: must be at least 0, not -1",
            "11:20: limits.idle_connections: is out of range",
            "12:11: limits.headers: must be at least 1KiB, not 100B",
            "14:9: server.grace: must be at least 0s, not -100ms",
        ],
    ),
    "no choice": (
        BACKEND + '[server]\nlog_level = "warn"\nlog_format = "xml"\n[routes.a]\ntargets = ["ollama"]\nclass = "Chat"',
        [
            '5:13: server.log_level: "warn" is no choice; did you mean "warning"?',
            '6:14: server.log_format: "xml" is no choice; known: console, json',
            '9:9: routes.a.class: "Chat" is no choice; did you mean "chat"?',
        ],
    ),
    # --- units
    "bad units": (
        '[timeouts]\nqueue = "90"\nwrite = "off"\n[limits]\nbody = "512KB"\nline = "a\\nb"',
        [
            '2:9: timeouts.queue: "90" is no duration; write "250ms", "90s", "5m", "1h30m" or a number of seconds',
            "3:9: timeouts.write: cannot be off",
            '5:8: limits.body: "512KB" is no size; did you mean "512KiB"?',
            '6:8: limits.line: "a\\nb" is no size; write "64KiB", "16MiB" or a number of bytes',
        ],
    ),
    # --- addresses
    "open listeners": (
        '[server]\nlisten = ["127.0.0.1:1", "0.0.0.0:1", "[::]:1"]',
        [
            '2:26: server.listen[1]: others can reach this address, and there are no [[keys]]; run "penstock key new", '
            "or listen on loopback or a unix socket",
            '2:39: server.listen[2]: others can reach this address, and there are no [[keys]]; run "penstock key new", '
            "or listen on loopback or a unix socket",
        ],
    ),
    "open listener without a name": (
        '[server]\nlisten = ["0.0.0.0:1"]\n[[keys]]\nname = "a"\nkey = "b"',
        [
            "2:11: server.listen[0]: others can reach this address; server.allowed_hosts must say by which names they "
            "call it"
        ],
    ),
    "hosts and origins": (
        '[server]\nallowed_hosts = ["*"]\nallowed_origins = ["null", "http://*"]',
        [
            '2:18: server.allowed_hosts[0]: "*" is no host; write a name or an IP address, such as "box.lan", '
            '"box.lan:80" or "[fd00::1]"',
            '3:20: server.allowed_origins[0]: "null" is the origin of every sandboxed page; it cannot be allowed',
            '3:28: server.allowed_origins[1]: "http://*" would let every web page in; name the pages\' hosts',
        ],
    ),
    # --- clients' keys
    "keys": (
        '[[keys]]\nname = "a b"\nkey = "sha256:12"\nadmin = 1\nmax_streams = 0\n[[keys]]\nkey = ""',
        [
            '2:8: keys[0].name: a key\'s name begins with a letter or digit and goes on with these, ".", "_" and "-"',
            '3:7: keys[0].key: "sha256:" takes the 64 hexadecimal digits that "penstock key new" prints',
            "4:9: keys[0].admin: must be true or false, not a whole number",
            "5:15: keys[0].max_streams: must be at least 1, not 0",
            "6:3: keys[1].name: is missing: what the log calls this client",
            "7:7: keys[1].key: a key is not empty and holds no control characters",
        ],
    ),
    "keys of one name": (
        '[[keys]]\nname = "a"\nkey = "b"\n[[keys]]\nname = "a"\nkey = "c"',
        ['5:8: keys[1].name: another key is called "a" too'],
    ),
    "no listener": ("[server]\nlisten = []", ["2:10: server.listen: is empty"]),
    "bad listener": (
        '[server]\nlisten = ["example.org:1"]',
        ['2:11: server.listen[0]: "example.org" is no IP address; a listen address takes one, or "localhost"'],
    ),
    "bad URL": (
        '[backends.a]\nkind = "openai"\nurl = "127.0.0.1:8080"',
        [
            '3:7: backends.a.url: must be an http or https URL with a host, such as "http://127.0.0.1:11434"',
        ],
    ),
    "bad key": (
        BACKEND + 'api_key = "credentials:cloud"',
        ['4:11: backends.ollama.api_key: begins almost like "credential:"; did you mean that?'],
    ),
    # --- names, targets and what they name
    "bad names": (
        BACKEND
        + '[backends."a/b"]\nkind = "openai"\nurl = "http://a"\n[routes]\n"q[0-9]*" = ["ollama"]\n"" = ["ollama"]',
        [
            '4:11: backends."a/b": a backend\'s name begins with a letter or digit and goes on with these, '
            '".", "_" and "-"',
            '8:1: routes."q[0-9]*": the wildcards of a glob are "*" and "?"; "[" has no meaning here',
            '9:1: routes."": a route\'s name is a model name, or a glob',
        ],
    ),
    "bad targets": (
        BACKEND + '[routes]\na = []\nb = ["/x", "olama", 1]\n[routes."coder-*"]\ntargets = ["ollama/x", "lama:7b"]',
        [
            "5:5: routes.a: is empty",
            '6:6: routes.b[0]: "/x" is no target; write "BACKEND" or "BACKEND/MODEL"',
            '6:12: routes.b[1]: no backend is called "olama"; did you mean "ollama"?',
            "6:21: routes.b[2]: must be text, not a whole number",
            '8:24: routes."coder-*".targets[1]: no backend is called "lama:7b"; did you mean "ollama"?',
        ],
    ),
    "no backend to name": (
        '[routes]\n"*" = ["gpu"]',
        ['2:8: routes."*"[0]: no backend is called "gpu"; there are none'],
    ),
    "a faulty backend is still a backend": (
        '[routes]\n"*" = ["gpu"]\n[backends.gpu]\nkind = "cuda"\nurl = "http://gpu"',
        [
            '4:8: backends.gpu.kind: "cuda" is no choice; known: anthropic, koboldcpp, '
            "llamacpp, lmstudio, ollama, openai, simulate, vllm"
        ],
    ),
    "keys that mean nothing": (
        '[backends.a]\nkind = "ollama"\nurl = "http://a"\nfim = "fim"\nusage = true\nresponses = "native"',
        [
            '4:1: backends.a.fim: is for servers that speak OpenAI, and this one is of kind "ollama"',
            '6:1: backends.a.responses: is for servers that speak OpenAI, and this one is of kind "ollama"',
        ],
    ),
}


@pytest.mark.parametrize(("text", "faults"), GOLDEN.values(), ids=GOLDEN)
def test_every_fault_of_a_text_is_told(text: str, faults: list[str]) -> None:
    with pytest.raises(FaultyFile) as refusal:
        loads(text, "penstock.toml")
    assert refusal.value.faults == [f"penstock.toml:{fault}" for fault in faults]
    assert str(refusal.value) == "\n".join(refusal.value.faults)


def test_line_ends_of_windows_count_once() -> None:
    with pytest.raises(FaultyFile) as refusal:
        loads("[server]\r\ndrain = 1\r\ngrace = []\r\n", "f")
    assert refusal.value.faults == ['f:3:9: server.grace: must be a duration such as "90s", not a list']


@pytest.mark.parametrize(
    ("text", "display"),
    [
        (
            "[server]\n\tdrain\t=\t[]",
            'f:2:10: server.drain: must be a duration such as "90s", not a list\n    \tdrain\t=\t[]\n    \t     \t \t^',
        ),
        (
            '[server]\nlog_level = "\x1b[2J"',
            "f:2:14: server.log_level: illegal character '\\x1b'\n    log_level = \"\ufffd[2J\"\n                 ^",
        ),
    ],
    ids=["tabs", "control characters"],
)
def test_the_caret_stands_under_the_place(text: str, display: str) -> None:
    with pytest.raises(FaultyFile) as refusal:
        loads(text, "f")
    assert refusal.value.found[0].display() == display


KEY = "sk-very-secret"


@pytest.mark.parametrize(
    "line",
    [
        f'api_key = "{KEY}", slots = 0',
        f"api_key = '{KEY}', slots = 0",
        f'"api_key" = "{KEY}", slots = 0',
        f'api_key="""{KEY}""", slots = 0',
        f'api_key = "a \\" {KEY}", slots = 0',
        f"api_key = {KEY}",
        f'api_key = "{KEY}',
        f'api_key = "credentials:{KEY}"',
        f'api_key = ["{KEY}"]',
        f'api_key = "{KEY}\\n"',
        f'api_key.x = "{KEY}"',
        f'key = "{KEY}"',
        f'url = "http://me:{KEY}@host"',
        f'url = "http://{KEY}@host/v1?a=b"',
    ],
)
def test_no_fault_shows_a_key(line: str) -> None:
    with pytest.raises(FaultyFile) as refusal:
        loads(f'backends.a = {{ kind = "openai", url = "http://a", {line} }}', "f")
    assert all(KEY not in fault.display() for fault in refusal.value.found)


def test_blotting_moves_nothing() -> None:
    text = f"a = 1\napi_key = '''{KEY}\n{KEY}'''\nb = 2"
    assert blot(text) == "a = 1\napi_key = " + "*" * 17 + "\n" + "*" * 17 + "\nb = 2"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("server",), "server"),
        (("routes", "coder-*", "targets", 1), 'routes."coder-*".targets[1]'),
        (("a.b", 'say "hi"\n', ""), '"a.b"."say \\"hi\\"\\n".""'),
    ],
)
def test_a_path_is_written_as_toml_writes_it(path: tuple[str | int, ...], text: str) -> None:
    assert dotted(path) == text


def test_quoted_text_stays_on_one_line() -> None:
    assert quoted('é "\\\n\x1b\x9b\u2028') == '"é \\"\\\\\\n\\x1b\\x9b\\u2028"'


def test_what_was_meant() -> None:
    assert did_you_mean("drane", ["drain", "grace"]) == 'did you mean "drain"?'
    assert did_you_mean("x", ["drain", "grace"]) == "known: drain, grace"
    assert did_you_mean("x", []) == "there are none"
