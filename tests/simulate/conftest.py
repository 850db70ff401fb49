from __future__ import annotations

import pytest
import trio

from penstock.simulate.server import Settings, Simulation, serve


@pytest.fixture
async def simulation(nursery: trio.Nursery) -> Simulation:
    return await nursery.start(serve, Settings())
