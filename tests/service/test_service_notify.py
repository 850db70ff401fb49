"""sd_notify: what is told arrives, and nothing that the other side does can hold us up."""

from __future__ import annotations

import resource
import socket
from pathlib import Path

import pytest
from manager import Manager

from penstock.service.notify import Notifier


def test_assignments_arrive_in_one_message(manager: Manager) -> None:
    Notifier(manager.address).tell({"READY": 1, "STATUS": "1 stream; backends: ollama"})
    assert manager.take() == [{"READY": "1", "STATUS": "1 stream; backends: ollama"}]


def test_the_environment_names_the_socket(manager: Manager) -> None:
    Notifier.of({"NOTIFY_SOCKET": manager.address}).tell({"WATCHDOG": 1})
    assert manager.take() == [{"WATCHDOG": "1"}]


def test_a_line_break_cannot_forge_an_assignment(manager: Manager) -> None:
    Notifier(manager.address).tell({"STATUS": "a\nMAINPID=1"})
    assert manager.take() == [{"STATUS": "a MAINPID=1"}]


@pytest.mark.parametrize(
    "address", [None, "", "vsock:2:1234", "relative", "/no/such/socket", "@nobody", "/" + "x" * 200]
)
def test_nobody_listens(address: str | None) -> None:
    Notifier(address).tell({"READY": 1})


def test_what_a_full_socket_did_not_take_goes_with_the_next_message(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    for number in range(1000):
        notifier.tell({"STATUS": str(number)})
    notifier.tell({"READY": 1})
    taken = manager.take()
    assert 0 < len(taken) < 1000
    assert not any("READY" in message for message in taken)
    notifier.tell({"STATUS": "last"})
    notifier.tell({"WATCHDOG": 1})
    assert manager.take() == [{"READY": "1", "STATUS": "last"}, {"WATCHDOG": "1"}]


def test_without_a_descriptor_left_the_watchdog_hears_all_the_same(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            socket.socket()
        notifier.tell({"WATCHDOG": 1})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert manager.take() == [{"WATCHDOG": "1"}]


def test_a_socket_that_comes_later_hears_what_it_missed(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "notify"))
    notifier.tell({"READY": 1})
    manager = Manager(str(tmp_path / "notify"))
    notifier.tell({"STATUS": "here"})
    assert manager.take() == [{"READY": "1", "STATUS": "here"}]
    manager.close()
