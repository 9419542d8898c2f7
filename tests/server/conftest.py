"""A world and a server for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.world import FIRSTS, A, Server, World, histories, serving, the_setup


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two stream regions, and users of each and of set-up."""
    world = World(tmp_path)
    world.open_both()
    for region_id, first in FIRSTS.items():
        for i, history in enumerate(histories(first, 5).tolist()):
            world.user(f"{'a' if region_id == A else 'b'}{i}", history)
    usual = the_setup().counts.argsort()[::-1][:30].reshape(3, 10)
    for i, history in enumerate(usual.tolist()):
        world.user(f"s{i}", history, since_setup=0)
    yield world
    world.close()


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with serving(world) as server:
        yield server
