"""Slots and the queue before them: first come, first served, bounded, nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import QueueFull
from penstock.policy.admission import Gate, Ticket


def test_slots_are_granted_at_once_then_tickets_wait_in_order() -> None:
    gate = Gate("b", slots=1, queue=2)
    woken: list[str] = []
    first, second, third = (Ticket(lambda name=name: woken.append(name)) for name in ("first", "second", "third"))
    for ticket in (first, second, third):
        gate.ask(ticket)
    assert (woken, gate.busy, gate.waiting) == (["first"], 1, 2)

    gate.leave(first)
    assert (woken, gate.busy, gate.waiting) == (["first", "second"], 1, 1)
    gate.leave(second)
    assert woken == ["first", "second", "third"]
    gate.leave(third)
    assert (gate.busy, gate.waiting) == (0, 0)


def test_a_full_queue_refuses_and_says_which_limit() -> None:
    gate = Gate("gpu", slots=1, queue=1)
    gate.ask(Ticket())
    gate.ask(Ticket())
    with pytest.raises(QueueFull, match=r"backend 'gpu' has all 1 slots in use and 1 streams waiting.*limits\.queue"):
        gate.ask(Ticket())


def test_who_leaves_the_queue_is_not_granted_later() -> None:
    gate = Gate("b", slots=1, queue=2)
    running, quitter, patient = Ticket(), Ticket(), Ticket()
    for ticket in (running, quitter, patient):
        gate.ask(ticket)
    gate.leave(quitter)
    gate.leave(running)
    assert (quitter.granted, patient.granted) == (False, True)


def test_leaving_twice_gives_back_one_slot() -> None:
    gate = Gate("b", slots=1, queue=5)
    tickets = [Ticket() for _ in range(3)]
    for ticket in tickets:
        gate.ask(ticket)
    gate.leave(tickets[0])
    gate.leave(tickets[0])
    assert [ticket.granted for ticket in tickets] == [True, True, False]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=120), st.integers(1, 4), st.integers(0, 5))
def test_never_more_inside_than_slots_and_never_a_free_slot_beside_a_waiter(
    moves: list[tuple[bool, int]], slots: int, queue: int
) -> None:
    gate = Gate("b", slots=slots, queue=queue)
    present: list[Ticket] = []
    for ask, pick in moves:
        if ask:
            ticket = Ticket()
            try:
                gate.ask(ticket)
            except QueueFull:
                assert (gate.busy, gate.waiting) == (slots, queue)
                assert not ticket.granted
            else:
                present.append(ticket)
        elif present:
            gate.leave(present.pop(pick % len(present)))
        assert gate.busy == sum(ticket.granted for ticket in present) <= slots
        assert gate.waiting == sum(not ticket.granted for ticket in present) <= queue
        assert gate.waiting == 0 or gate.busy == slots
        # first come, first served: nobody inside came after somebody who waits
        order = [ticket.granted for ticket in present]
        assert order == sorted(order, reverse=True)
