"""Keys that systemd hands over reach the backend that they are for, and show nowhere else; nor does what was said."""

from __future__ import annotations

import json

import pytest
from installed import ADDRESS, ANSWER, CANARY, CONFIG, FILE, Service
from machine import Machine

from rawhttp import answered, call, get

KEY, PROMPT = "k3y-canary", "pr0mpt-canary"
CLOUD = '[backends.cloud]\nkind = "openai"\nurl = "http://127.0.0.1:11500/v1"\napi_key = "credential:cloud"\n'
ROUTES = f'[routes]\n"*" = ["backend"]\n"cloud" = ["cloud/{CANARY}"]\n'
MESSAGES = [{"role": "user", "content": PROMPT}]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
async def test_a_credential_goes_to_its_backend_only(encrypted: bool, machine: Machine, service: Service) -> None:
    machine.write(FILE, CONFIG.partition("[routes]")[0] + CLOUD + ROUTES)
    machine.write("/etc/penstock/cloud.key", f"{KEY}\n", mode=0o600)
    if encrypted:
        machine.run("systemd-creds", "setup")
        key = "/etc/penstock/cloud.key"
        machine.run("systemd-creds", "encrypt", "--with-key=host", "--name=cloud", key, f"{key}.encrypted")
        machine.run("rm", key)
        service.settings("LoadCredentialEncrypted=cloud:/etc/penstock/cloud.key.encrypted\n")
    else:
        service.settings("LoadCredential=cloud:/etc/penstock/cloud.key\n")
    service.restart()
    with machine.network():
        _, _, said = await answered(ADDRESS, call("cloud", "Connection: close", messages=MESSAGES))
        await answered(ADDRESS, call("sim:tokens=3,id=other", "Connection: close"))
        _, _, cloud = await answered("http://127.0.0.1:11500", get("/simulate/streams/canary"))
        _, _, other = await answered("http://127.0.0.1:11500", get("/simulate/streams/other"))
        shown = {path: (await answered(ADDRESS, get(path)))[2] for path in ("/metrics", "/health", "/v1/models")}
    assert ANSWER in said.decode()
    assert f"Bearer {KEY}" in cloud.decode()
    assert "id=other" in other.decode() and KEY not in other.decode()
    # Now where it must not show.
    process = f"/proc/{service.pid}"
    told = {path: body.decode() for path, body in shown.items()}
    told["environ"] = machine.run("cat", f"{process}/environ")
    told["cmdline"] = machine.run("cat", f"{process}/cmdline")
    told["systemctl show"] = machine.run("systemctl", "show", "penstock.service")
    told["systemctl status"] = machine.run("systemctl", "status", "penstock.service", check=False)
    told["penstock status"] = machine.run(service.command, "status")
    told["penstock check"] = machine.run(service.command, "check", "--explain")
    told["journal"] = json.dumps(machine.journal("-u", "penstock"))
    machine.run("kill", "-ABRT", str(service.pid))
    told["crash"] = json.dumps(machine.journal("-u", "penstock"))
    assert "Fatal Python error" in told["crash"]
    assert all(told.values())
    assert [(place, canary) for place in told for canary in (KEY, PROMPT, ANSWER) if canary in told[place]] == []
    # What is written anywhere: the key's own file, and the credential that systemd made of it.
    written = machine.run("grep", "-rls", "-e", KEY, "-e", PROMPT, "/etc", "/var", "/run", "/tmp", check=False)
    own = [] if encrypted else ["/etc/penstock/cloud.key"]
    assert [path for path in written.splitlines() if not path.startswith("/run/credentials/")] == own


def test_a_credential_that_is_not_there_is_named(machine: Machine, service: Service) -> None:
    machine.write(FILE, CONFIG.partition("[routes]")[0] + CLOUD + ROUTES)
    status, _ = machine.tried("systemctl", "restart", "penstock.service")
    assert status != 0
    assert "secret 'credential:cloud': none were passed; the unit lacks LoadCredential=cloud:/path" in service.log()
    assert machine.property("penstock.service", "ExecMainStatus") == "78"
