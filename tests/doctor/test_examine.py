"""What the doctor finds, with real sockets, real files and stand-ins for the servers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import standins
import trio

from penstock.config.load import read
from penstock.service import examine
from penstock.service.daemon import Daemon
from penstock.service.examine import Examination, Finding
from penstock.simulate import server as simulate
from ports import free_port

PATIENCE = 5.0


async def found(file: Path, environ: Mapping[str, str] | None = None, patience: float = PATIENCE) -> list[Finding]:
    examination = Examination(read(file, {}), environ or {}, patience)
    await examination.run()
    return examination.findings


def of(findings: list[Finding], subject: str) -> list[Finding]:
    return [finding for finding in findings if finding.subject == subject]


def texts(findings: list[Finding], subject: str = "backend a") -> list[str]:
    return [f"{finding.state}: {finding.text}" for finding in of(findings, subject)]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "penstock.toml"


def write(file: Path, port: int, url: str, kind: str = "openai", more: str = "") -> None:
    backend = f'[backends.a]\nkind = "{kind}"\nurl = "{url}"\n'
    file.write_text(f'[server]\nlisten = ["127.0.0.1:{port}"]\n{backend}{more}')


async def test_all_is_well(file: Path, port: int, nursery: trio.Nursery) -> None:
    simulation = await nursery.start(simulate.serve, simulate.Settings())
    write(file, port, simulation.url, "simulate")
    findings = await found(file)
    assert [finding.state for finding in findings] == ["ok", "ok", "ok"]
    assert texts(findings, f"127.0.0.1:{port}") == ["ok: free"]
    listed, token = texts(findings)
    assert listed == f"ok: {simulation.url} is a server that speaks simulate, with 1 model"
    assert token.startswith("ok: 'sim': first token after 0.")


async def test_a_log_of_prompts_is_loud(file: Path, port: int) -> None:
    write(file, port, f"http://127.0.0.1:{port}")
    file.write_text(file.read_text().replace("[server]", "[server]\nlog_content = true"))
    assert texts(await found(file), "log") == ["warning: prompts and answers are logged: server.log_content is true"]


async def test_a_daemon_that_runs_is_asked(file: Path, port: int, nursery: trio.Nursery) -> None:
    simulation = await nursery.start(simulate.serve, simulate.Settings())
    write(file, port, simulation.url, "simulate", more='[routes]\ncoder = ["a/sim"]\n')
    daemon = Daemon(read(file, {}).config)
    await nursery.start(daemon.serve)
    findings = await found(file)
    assert {finding.state for finding in findings} == {"ok"}
    assert "runs on" in of(findings, "daemon")[0].text
    assert of(findings, f"127.0.0.1:{port}")[0].text.startswith("held by ")
    assert "'coder': first token after" in of(findings, "backend a")[1].text
    assert [target.model for target in daemon.state.router.targets("coder", {})] == ["sim"]


@pytest.mark.parametrize(
    ("pages", "kind", "expected"),
    [
        (standins.OLLAMA, "ollama", ["ok: URL is Ollama 0.33.0, with 1 model", "ok: 'm': first token"]),
        (standins.LLAMACPP, "llamacpp", ["ok: URL is llama.cpp b7000-abc, with 1 model", "ok: 'm': first token"]),
        (standins.VLLM, "vllm", ["ok: URL is vLLM 0.12.0, with 1 model", "ok: 'm': first token"]),
        (standins.PLAIN, "openai", ["ok: URL is a server that speaks openai, with 1 model", "ok: 'm': first token"]),
        (
            standins.OLLAMA,
            "openai",
            ["ok: URL is Ollama 0.33.0, with 1 model", 'warning: it is configured as "openai"', "ok: 'm': first token"],
        ),
        (
            {**standins.PLAIN, "/v1/models": standins.listing()},
            "openai",
            ["ok: URL is a server that speaks openai, with 0 models", "fault: it has no model"],
        ),
        (
            {**standins.PLAIN, "/v1/models": standins.listing("nomic-embed-text")},
            "openai",
            ["ok: URL is a server that speaks openai, with 1 model"],
        ),
        ({}, "openai", ["fault: URL: "]),
        ({"/v1/models": standins.listing("m")}, "openai", ["ok: URL is a server", "fault: 'm': "]),
    ],
    ids=["ollama", "llamacpp", "vllm", "plain", "mistaken", "empty", "embeds", "stranger", "silent"],
)
async def test_a_backend(
    pages: standins.Pages, kind: str, expected: list[str], file: Path, port: int, nursery: trio.Nursery
) -> None:
    url = await standins.serve(nursery, pages)
    write(file, port, url, kind)
    told = texts(await found(file))
    assert len(told) == len(expected), told
    for text, beginning in zip(told, expected, strict=True):
        assert text.startswith(beginning.replace("URL", url))


async def test_a_koboldcpp_with_several_slots(file: Path, port: int, nursery: trio.Nursery) -> None:
    """It would let requests wait where nobody sees them, and tell the counts of another's answer."""
    write(file, port, await standins.serve(nursery, standins.KOBOLDCPP), "koboldcpp", "slots = 2")
    (warning,) = [finding for finding in await found(file) if finding.state == "warning"]
    assert warning.text.startswith("it has 2 slots")
    assert warning.todo.startswith("set backends.a.slots = 1")


async def test_a_wrong_kind_is_told_with_the_right_one(file: Path, port: int, nursery: trio.Nursery) -> None:
    write(file, port, await standins.serve(nursery, standins.OLLAMA))
    (warning,) = [finding for finding in await found(file) if finding.state == "warning"]
    assert warning.todo == 'set backends.a.kind = "ollama"'


async def test_nobody_is_there(file: Path, port: int) -> None:
    write(file, port, "http://127.0.0.1:1")
    (fault,) = of(await found(file), "backend a")
    assert (fault.state, fault.todo) == ("fault", "start the server, or correct backends.a.url")
    assert fault.text == "http://127.0.0.1:1: cannot connect to 127.0.0.1:1: connection refused"


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, "the backend refused penstock's key (HTTP 401)"), (500, "HTTP 500 without a word")],
)
async def test_it_refuses(status: int, text: str, file: Path, port: int, nursery: trio.Nursery) -> None:
    url = await standins.serve(nursery, {}, otherwise=status)
    write(file, port, url)
    (fault,) = of(await found(file), "backend a")
    assert fault.state == "fault"
    assert fault.text.startswith(f"{url}: {text}")
    assert fault.todo.startswith("look whether backends.a.kind, .url and .api_key are right")


async def test_it_hangs(file: Path, port: int, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "PATIENCE", 0.1)
    url = await standins.serve(nursery, {"/v1/models": None})
    write(file, port, url)
    assert texts(await found(file)) == [f"fault: {url} did not tell its models within 0.1 s"]


async def test_the_first_token_is_late(file: Path, port: int, nursery: trio.Nursery) -> None:
    simulation = await nursery.start(simulate.serve, simulate.Settings(models={"sim": "first=1h"}))
    write(file, port, simulation.url, "simulate")
    fault = of(await found(file, patience=0.1), "backend a")[1]
    assert (fault.state, fault.text) == ("fault", "'sim': no token within 0.1 s")
    assert "--timeout" in fault.todo


async def test_another_answers_in_its_place(file: Path, port: int, nursery: trio.Nursery) -> None:
    broken = await standins.serve(nursery, {"/v1/models": standins.listing("m")}, otherwise=503)
    good = await standins.serve(nursery, standins.PLAIN)
    other = f'[backends.b]\nkind = "openai"\nurl = "{good}"\n[routes]\ncoder = ["a/m", "b/m"]\n'
    write(file, port, broken, more=other)
    findings = await found(file)
    assert texts(findings)[1] == "fault: 'coder' was answered by b/m in its place"
    assert texts(findings, "backend b")[1:] == ["warning: no route leads to it"]


async def test_a_loop(file: Path, port: int) -> None:
    write(file, port, f"http://localhost:{port}/v1")
    assert texts(await found(file)) == ["fault: is penstock's own address"]


async def test_somebody_else_has_the_port(file: Path, nursery: trio.Nursery) -> None:
    """It even has a page of the same name."""
    url = await standins.serve(nursery, {**standins.PLAIN, "/health": {"status": "ok"}})
    port = int(url.rpartition(":")[2])
    write(file, port, "http://127.0.0.1:1")
    (fault,) = of(await found(file), f"127.0.0.1:{port}")
    assert fault.state == "fault"
    assert fault.text.startswith("taken by ")
    assert fault.todo == "stop that, or change server.listen"


@pytest.mark.parametrize(
    ("key", "mode", "state", "text"),
    [
        ("sk-literal", 0o644, "fault", "a key stands in FILE:6, and others may read that file"),
        ("env:NO_SUCH", 0o644, "fault", "secret 'env:NO_SUCH': the environment variable is not set"),
        ("credential:cloud", 0o644, "warning", "secret 'credential:cloud': none were passed"),
        ("file:/no/such", 0o644, "fault", "secret 'file:/no/such': cannot be read: No such file or directory"),
    ],
)
async def test_a_key_that_is_badly_kept(key: str, mode: int, state: str, text: str, file: Path, port: int) -> None:
    write(file, port, "http://127.0.0.1:1", more=f'api_key = "{key}"\n')
    file.chmod(mode)
    (finding,) = of(await found(file), "secrets")
    assert finding.state == state
    assert finding.text.startswith(text.replace("FILE", str(file)))
    assert "sk-literal" not in str(finding)


async def test_keys_that_are_well_kept(file: Path, port: int) -> None:
    digest = "sha256:" + "0" * 64
    keys = f'api_key = "sk-literal"\n[[keys]]\nname = "x"\nkey = "{digest}"\n[[keys]]\nname = "y"\nkey = "env:Y"\n'
    write(file, port, "http://127.0.0.1:1", more=keys)
    file.chmod(0o600)
    assert of(await found(file, {"Y": "secret"}), "secrets") == []


async def test_with_keys_a_daemon_is_asked_with_the_owners(file: Path, port: int, nursery: trio.Nursery) -> None:
    simulation = await nursery.start(simulate.serve, simulate.Settings())
    keys = '[[keys]]\nname = "guest"\nkey = "sk-guest"\n[[keys]]\nname = "owner"\nkey = "sk-owner"\nadmin = true\n'
    write(file, port, simulation.url, "simulate", more=keys)
    file.chmod(0o600)
    await nursery.start(Daemon(read(file, {}).config).serve)
    assert {finding.state for finding in await found(file)} == {"ok"}


async def test_without_an_owners_key_a_daemon_tells_little(file: Path, port: int, nursery: trio.Nursery) -> None:
    simulation = await nursery.start(simulate.serve, simulate.Settings())
    write(file, port, simulation.url, "simulate", more='[[keys]]\nname = "guest"\nkey = "sk-guest"\n')
    file.chmod(0o600)
    await nursery.start(Daemon(read(file, {}).config).serve)
    findings = await found(file)
    assert texts(findings, "daemon") == [f"warning: it runs on http://127.0.0.1:{port}: ok"]
    assert of(findings, "daemon")[0].todo.endswith("PENSTOCK_KEY")
    # One of our own lets the token through then.
    assert texts(findings)[1].startswith("ok: 'sim': first token after")
    assert {finding.state for finding in await found(file, {"PENSTOCK_KEY": "sk-wrong"})} >= {"warning"}


async def test_over_a_unix_socket(file: Path, tmp_path: Path, nursery: trio.Nursery) -> None:
    simulation = await nursery.start(simulate.serve, simulate.Settings())
    backend = f'[backends.a]\nkind = "simulate"\nurl = "{simulation.url}"\n'
    file.write_text(f'[server]\nlisten = ["unix:{tmp_path}/s"]\n{backend}')
    assert texts(await found(file), f"unix:{tmp_path}/s") == ["ok: free"]
    await nursery.start(Daemon(read(file, {}).config).serve)
    findings = await found(file)
    assert {finding.state for finding in findings} == {"ok"}
    assert of(findings, f"unix:{tmp_path}/s")[0].text.startswith("held by ")
