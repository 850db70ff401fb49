"""penstock as the service of a user who is not even logged in."""

from __future__ import annotations

from installed import ADDRESS, CONFIG, until
from machine import Machine

from rawhttp import answered, call

USER = "ada"
UNITS = ("penstock.socket", "penstock.service")


async def test_a_user_installs_uses_and_removes_it(machine: Machine, penstock: str) -> None:
    machine.run("useradd", "--create-home", USER)
    machine.run("loginctl", "enable-linger", USER)

    def manager(*words: str) -> tuple[int, str]:
        return machine.tried("systemctl", "--user", *words, user=USER)

    def answers() -> bool:
        return all(manager("is-active", unit) == (0, "active") for unit in UNITS)

    until(lambda: manager("is-system-running") == (0, "running"), "the user's manager")
    before = machine.files()
    machine.write(f"/home/{USER}/.config/penstock/penstock.toml", CONFIG)
    machine.run("chown", "-R", USER, f"/home/{USER}/.config")
    told = machine.run(penstock, "install", user=USER)
    assert "It does so while you are logged in; from boot on after: loginctl enable-linger" in told
    until(answers, "the service")
    units = [f"/home/{USER}/.config/systemd/user/{unit}" for unit in UNITS]
    assert machine.tried("systemd-analyze", "--user", "verify", *units, user=USER) == (0, "")
    with machine.network():
        _, _, answer = await answered(ADDRESS, call("sim:tokens=3", "Connection: close"))
    assert b"[DONE]" in answer
    machine.write(f"/home/{USER}/.config/penstock/penstock.toml", CONFIG.replace("slots = 32", "slots = 31"))
    assert manager("reload", "penstock") == (0, "")
    until(lambda: "generation 2, " in machine.run(penstock, "status", user=USER), "the next generation")
    # As after a boot: her manager starts, and with it the service.
    number = machine.run("id", "-u", USER)
    machine.run("systemctl", "restart", f"user@{number}.service")
    until(answers, "the service without a login")
    machine.run(penstock, "uninstall", user=USER)
    folder = f"/home/{USER}/.config"
    left = {f"{folder}/systemd", f"{folder}/systemd/user", folder, f"{folder}/penstock"}
    assert machine.files() - before <= left | {f"{folder}/penstock/penstock.toml"}
    assert not answers()
