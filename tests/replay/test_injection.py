"""The closed form of an Inject against its definition, and what it leaves alone."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from adapters_store import AdaptersStore
from pipeline.editing.editor import MOST_PARTS, Editor
from pipeline.editing.injection import STRENGTH, Contexts
from pipeline.editing.publisher import EditPublisher
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit, Evidence, Operation
from pipeline.events.gated import GatedEvent
from pipeline.events.item import Item
from pipeline.models.lora.host import AdapterHost
from pipeline.models.text import open_text_encoder
from pipeline.regions.bank import RegionBank
from pipeline.regions.injection import EVERY_REGION
from pipeline.setup.artifacts import SetUp
from tests.gated import gated_event
from tests.replay.small import config

REASON = {"signal": "new items", "statistic": 2.0, "threshold": 1.0, "text": "because"}
TEXTS = {"new1": "a text of its own", "new2": "another one", "silent": ""}


def contexts(k: int, d: int, seed: int = 0) -> Contexts:
    rng = np.random.default_rng(seed)
    return Contexts(rng.normal(size=(k, d)), rng.normal(size=k), rng.uniform(0.1, 2.0, size=k))


def moment(d: int) -> np.ndarray:
    root = np.random.default_rng(9).normal(size=(3 * d, d))
    return root.T @ root / len(root)


def test_the_solution_minimises_what_the_formula_says() -> None:
    of, vector, second = contexts(4, 3), np.array([0.3, -1.0, 0.5]), moment(3)

    def objective(u: np.ndarray) -> float:
        missed = of.states @ u - of.wanted
        return float(of.weights @ missed**2 + STRENGTH * 3 * (u - vector) @ second @ (u - vector))

    found, _ = of.pull(vector, np.linalg.inv(second))
    np.testing.assert_allclose(found, minimize(objective, vector, tol=1e-12).x, atol=1e-4)


def test_leaving_a_window_out_is_to_solve_without_it() -> None:
    of, vector, inverse = contexts(5, 4), np.ones(4), np.linalg.inv(moment(4))
    _, left_out = of.pull(vector, inverse)
    for i in range(5):
        rest = np.arange(5) != i
        without, _ = Contexts(of.states[rest], of.wanted[rest], of.weights[rest]).pull(vector, inverse)
        assert left_out[i] == pytest.approx(of.states[i] @ without)


class World:
    """Twenty windows of two users, four of which a new item followed."""

    def __init__(self, setup: SetUp, folder: Path, texts: dict[str, str] | None = None) -> None:
        a, b, c, *_ = setup.catalogue.item_ids
        targets = ["new1", "silent", b, c, a] * 4
        self.log = [
            gated_event(event_id=f"e{n}", target=target, window=[a, b, c][: 1 + n % 3])
            for n, target in enumerate(targets)
        ]
        items = {name: Item(name, text) for name, text in (TEXTS if texts is None else texts).items()}
        self.store = AdaptersStore(folder)
        host = AdapterHost(copy.deepcopy(setup.backbone), config().adapter)
        encoder = open_text_encoder("hashing", None)
        settings = config("edits.confidence=100")
        self.workspace = Workspace(setup, host, self.store, encoder, items.get, self.events_of, settings.windows.length)
        self.editor = Editor(setup, settings, self.workspace)
        self.publisher = EditPublisher(setup, settings, self.workspace, self.store)

    def events_of(self, evidence: Sequence[Evidence]) -> list[GatedEvent]:
        return [self.log[offset] for offset in sorted({e.offset for e in evidence})]

    def edit(self, *items: str, base: int = 0) -> Edit:
        every = tuple(Evidence(f"e{n}", n, EVERY_REGION) for n in range(len(self.log)))
        windows = tuple(e for e in every if self.log[e.offset].target in items)
        made = Edit("0" * 24, Operation.INJECT, EVERY_REGION, None, base, 0, REASON, windows, every, 20, 1.6e9, 7)
        return replace(made, items=tuple(sorted(items)))


@pytest.fixture
def world(setup: SetUp, tmp_path: Path) -> World:
    return World(setup, tmp_path)


def test_items_with_a_text_or_a_window_are_injected(world: World, setup: SetUp) -> None:
    outcome, revision = world.publisher.apply(world.edit("new1", "new2", "silent"), setup.bank)
    assert outcome.published
    assert outcome.trained_windows == 0
    assert outcome.version == "r0000_v0001"
    assert revision is not None
    after = revision.after(setup.bank)
    assert (after.injection.version, after.injection.names) == (1, ("r0000_v0001",))
    assert (after.regions, after.gate_version) == (setup.bank.regions, setup.bank.gate_version)
    # `new2` was never taken, `silent` has no text.
    assert world.workspace.injected(after).items == ("new1", "new2", "silent")
    assert world.store.show("r0000_v0001").rank == 0


def test_an_inject_without_texts_and_windows_is_rejected(setup: SetUp, tmp_path: Path) -> None:
    outcome, revision = World(setup, tmp_path, {}).publisher.apply(edit_of_nothing(), setup.bank)
    assert (outcome.published, revision) == (False, None)
    assert "nothing to inject" in outcome.detail


def edit_of_nothing() -> Edit:
    judged = (Evidence("e2", 2, EVERY_REGION),)
    made = Edit("0" * 24, Operation.INJECT, EVERY_REGION, None, 0, 0, REASON, (), judged, 20, 1.6e9, 7)
    return replace(made, items=("unheard",))


def test_windows_raise_the_logit_of_the_item_that_followed_them(world: World, setup: SetUp) -> None:
    world.editor.apply(world.edit("silent"), setup.bank)
    bank = published(world, setup.bank, "silent")
    contexts = world.workspace.windows_of(world.edit("silent").windows).contexts
    host, row = world.workspace.host, world.workspace.catalogue.row_of["silent"]
    host.inject(world.workspace.injected(setup.bank), world.workspace.catalogue.row_of)
    before = host.logits(host.states(contexts, None), None, world.workspace.catalogue.rows)
    host.inject(world.workspace.injected(bank), world.workspace.catalogue.row_of)
    after = host.logits(host.states(contexts, None), None, world.workspace.catalogue.rows)
    assert (after[:, row] > before[:, row]).all()
    others = np.arange(len(after[0])) != row
    np.testing.assert_array_equal(after[:, others], before[:, others])


def published(world: World, bank: RegionBank, *items: str) -> RegionBank:
    _, revision = world.publisher.apply(world.edit(*items, base=bank.injection.version), bank)
    assert revision is not None
    return revision.after(bank)


def test_a_second_injection_goes_on_from_the_first(world: World, setup: SetUp) -> None:
    first = published(world, setup.bank, "silent")
    second = published(world, first, "silent")
    assert second.injection.names == ("r0000_v0001", "r0000_v0002")
    one, two = (world.workspace.injected(bank).vectors[0] for bank in (first, second))
    windows = world.workspace.windows_of(world.edit("silent").windows)
    world.editor._injector.prepare()
    world.workspace.prepare(world.edit("silent"), setup.bank)
    states = world.workspace.host.states(windows.contexts, None)[:, -1].double().numpy()
    wanted = world.editor._injector._of_setup.wanted(states)
    assert np.abs(states @ two - wanted).mean() < np.abs(states @ one - wanted).mean()


def test_an_inject_decided_on_another_injection_is_rejected(world: World, setup: SetUp) -> None:
    bank = published(world, setup.bank, "silent")
    outcome, _ = world.publisher.apply(world.edit("new1", base=0), bank)
    assert not outcome.published
    assert "moved on from version 0" in outcome.detail


def test_the_version_after_many_parts_holds_all_of_them(world: World, setup: SetUp) -> None:
    bank = published(world, setup.bank, "new2")
    for _ in range(MOST_PARTS - 1):
        bank = published(world, bank, "silent")
    assert len(bank.injection.names) == MOST_PARTS
    whole = published(world, bank, "silent")
    assert whole.injection.names == (f"r0000_v{MOST_PARTS + 1:04}",)
    assert set(world.workspace.injected(whole).items) == {"new2", "silent"}


def test_the_same_inject_gives_the_same_bytes_in_every_process(setup: SetUp, tmp_path: Path) -> None:
    one, other = World(setup, tmp_path / "one"), World(setup, tmp_path / "other")
    published(other, setup.bank, "new2")  # What it did before leaves no trace.
    tensors = one.editor.apply(one.edit("new1", "silent"), setup.bank).injected
    again = other.editor.apply(other.edit("new1", "silent"), setup.bank).injected
    assert tensors is not None
    assert again is not None
    assert tensors.items == again.items
    np.testing.assert_array_equal(tensors.vectors, again.vectors)
