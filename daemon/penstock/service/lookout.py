"""A service that found neither a file nor a backend serves all the same, and looks until a backend answers.

What a service manager starts at boot may be there before the servers that it is for.  To end and be started again would
be a fresh Python every second.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from penstock.config.find import find
from penstock.errors import PenstockError
from penstock.service.discover import discover

if TYPE_CHECKING:
    from penstock.service.daemon import Daemon
    from penstock.service.reload import Reloader

#: Seconds between two looks.
PERIOD = 5.0


async def look_out(daemon: Daemon, reloader: Reloader) -> None:
    """Reload when a local backend answers; returns when the daemon has one.

    Who has written a file since reloads by himself: it may not be finished.
    """
    while not daemon.state.config.backends:
        await trio.sleep(PERIOD)
        if find(os.environ) is None and (await discover()).backends:
            # the log has told why
            with suppress(PenstockError):
                await reloader.reload()
