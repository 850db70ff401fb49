"""Every stream error is one of the reasons, and the reasons are all there are."""

from __future__ import annotations

from collections.abc import Iterator

from penstock import errors
from penstock.chat.reasons import Reason

#: Ends that are no error of the tree: well ended, or set by whoever ends the stream.
NOT_RAISED = {Reason.COMPLETED, Reason.PREEMPTED, Reason.SUPERSEDED, Reason.KILLED, Reason.INTERNAL}


def leaves(kind: type[errors.PenstockError]) -> Iterator[type[errors.PenstockError]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from leaves(sub)


def test_reasons_and_stream_errors_match_one_to_one() -> None:
    abstract = {errors.BackendError, errors.ClientError, errors.Ended}
    raised = [kind.code for kind in leaves(errors.StreamError) if kind not in abstract]
    assert sorted(raised) == sorted(reason.value for reason in Reason if reason not in NOT_RAISED)


def test_only_a_backends_fault_counts_against_it() -> None:
    for kind in leaves(errors.StreamError):
        if kind.code in Reason.__members__.values() and kind.party == "client":
            assert not Reason(kind.code).blames_backend
