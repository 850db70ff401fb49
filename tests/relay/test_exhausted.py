"""Whose fault a failed connection is: the backend's, or ours for want of a descriptor."""

from __future__ import annotations

import errno

import pytest
import trio

from penstock.errors import ConnectFailed, Exhausted
from penstock.relay import transport
from penstock.relay.transport import Transport


def chained(cause: BaseException) -> OSError:
    """As trio tells of several addresses that were tried."""
    error = OSError("all attempts to connect failed")
    error.__cause__ = cause
    return error


FULL, REFUSED = OSError(errno.EMFILE, "Too many open files"), OSError(errno.ECONNREFUSED, "Connection refused")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FULL, Exhausted),
        (OSError(errno.ENFILE, "Too many open files in system"), Exhausted),
        (chained(FULL), Exhausted),
        (chained(ExceptionGroup("", [REFUSED, FULL])), Exhausted),
        (REFUSED, ConnectFailed),
        (chained(REFUSED), ConnectFailed),
        (chained(ExceptionGroup("", [REFUSED, REFUSED])), ConnectFailed),
    ],
    ids=str,
)
async def test_whose_fault_it_is(error: OSError, told: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(host: str, port: int) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    monkeypatch.setattr(transport, "connect", connect)
    with pytest.raises(told):
        await Transport("http://backend.test:1").connect(b"")
