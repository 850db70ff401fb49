"""Which backend is which after a reload, and what a gate does when its numbers change while it is used."""

from __future__ import annotations

import pytest

from penstock.config.model import Backend
from penstock.policy.admission import Gate, Ticket
from penstock.policy.succession import heirs

A, B = "http://127.0.0.1:1", "http://127.0.0.1:2"


def named(**urls: str) -> dict[str, Backend]:
    return {name: Backend(kind="openai", url=url) for name, url in urls.items()}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (named(a=A), named(a=A), {"a": "a"}),
        # the same server by another path
        (named(a=A), named(a=f"{A}/v1"), {"a": "a"}),
        (named(a=A), named(a=B), {}),
        (named(a=A, b=B), named(b=B, a=A), {"a": "a", "b": "b"}),
        (named(a=A), named(fast=A), {"fast": "a"}),
        # one server with two names of its own: each goes on as what it was
        (named(a=A, b=A), named(a=A, b=A), {"a": "a", "b": "b"}),
        (named(a=A), named(a=A, b=A), {"a": "a"}),
        (named(a=A), named(b=A, c=A), {"b": "a"}),
        (named(a=A, b=B), named(a=B, b=A), {}),
        ({}, named(a=A), {}),
    ],
)
def test_a_server_is_known_by_its_place(
    old: dict[str, Backend], new: dict[str, Backend], expected: dict[str, str]
) -> None:
    assert heirs(old, new) == expected


def asked(gate: Gate, count: int) -> list[Ticket]:
    tickets = [Ticket() for _ in range(count)]
    for ticket in tickets:
        gate.ask(ticket)
    return tickets


def granted(tickets: list[Ticket]) -> list[bool]:
    return [ticket.granted for ticket in tickets]


def test_more_slots_are_given_at_once() -> None:
    gate = Gate("a", slots=1, queue=5)
    tickets = asked(gate, 4)
    gate.become("a", slots=3, queue=5)
    assert granted(tickets) == [True, True, True, False]
    assert (gate.busy, gate.waiting) == (3, 1)


def test_fewer_slots_take_nobody_theirs_and_are_kept_to() -> None:
    gate = Gate("a", slots=3, queue=5)
    tickets = asked(gate, 5)
    gate.become("fast", slots=1, queue=0)
    assert (gate.busy, gate.waiting) == (3, 2)
    gate.leave(tickets[0])
    gate.leave(tickets[1])
    assert granted(tickets) == [True, True, True, False, False]
    gate.leave(tickets[2])
    assert granted(tickets) == [True, True, True, True, False]
    assert gate.backend == "fast"
