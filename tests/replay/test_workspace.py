"""Workspace of an edit: the same edit gives the same adapter in every process, whatever else it has come to know."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from adapters_store import AdaptersStore
from pipeline.editing.training import AdapterTrainer
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit, Evidence, Operation
from pipeline.events.gated import GatedEvent
from pipeline.events.item import Item
from pipeline.models.backbones.base import BLOCK
from pipeline.models.lora.host import AdapterHost
from pipeline.models.text import open_text_encoder
from pipeline.setup.artifacts import SetUp
from tests.gated import gated_event
from tests.replay.small import config

REASON = {"signal": "loss", "statistic": 14.2, "threshold": 13.8, "text": "because"}


def event(offset: int, target: str, *window: str) -> GatedEvent:
    return gated_event(event_id=f"e{offset}", target=target, window=list(window), since_setup=1)


def edit(offsets: Sequence[int]) -> Edit:
    evidence = tuple(Evidence(f"e{offset}", offset, 9) for offset in offsets)
    return Edit("0" * 24, Operation.ADD, 9, None, 0, 0, REASON, evidence, (), 1_000, 1.6e9, 7, passes=2)


def workspace(setup: SetUp, folder: Path, log: Mapping[int, GatedEvent], items: Mapping[str, Item]) -> Workspace:
    def events_of(evidence: Sequence[Evidence]) -> list[GatedEvent]:
        return [log[offset] for offset in sorted({e.offset for e in evidence})]

    host = AdapterHost(copy.deepcopy(setup.backbone), config().adapter)
    encoder, length = open_text_encoder("hashing", None), config().windows.length
    return Workspace(setup, host, AdaptersStore(folder), encoder, items.get, events_of, length)


def trained(of: Workspace, setup: SetUp, wanted: Edit) -> dict[str, np.ndarray]:
    of.prepare(wanted, setup.bank)
    windows = of.windows_of(wanted.windows)
    candidate = AdapterTrainer(config(), of).train(wanted, 1, windows, windows, None)
    return of.host.tensors(candidate.name) | {"weight": np.array(candidate.weight)}


def test_an_adapter_does_not_depend_on_what_else_the_process_knows(setup: SetUp, tmp_path: Path) -> None:
    a, b, c, *_ = setup.catalogue.item_ids
    items = {i: Item(i, f"a later text of {i}") for i in (a, "new1", "new2", *(f"far{n}" for n in range(2 * BLOCK)))}
    log = {n: event(n, ("new1", b, c)[n % 3], b, "new2", c) for n in range(40)}
    # Before it: an item of set-up with another text, and enough items to make all tables larger.
    log |= {100 + n: event(100 + n, f"far{n}", a, "aaa", "new1") for n in range(2 * BLOCK)}
    fresh, busy = (workspace(setup, tmp_path / name, log, items) for name in ("fresh", "busy"))
    trained(busy, setup, edit(range(100, 100 + 2 * BLOCK)))
    found, expected = (trained(of, setup, edit(range(40))) for of in (busy, fresh))
    assert busy.catalogue.ids == fresh.catalogue.ids == ["", *setup.catalogue.item_ids, "new1", "new2"]
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    np.testing.assert_array_equal(busy.host.vectors(None).numpy(), fresh.host.vectors(None).numpy())
    assert busy.host.describe("r0009_v0001", busy.catalogue.ids)["items"] == [*sorted([b, c]), "new1", "new2"]
