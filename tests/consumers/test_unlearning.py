"""Unlearning: what was trained with the windows of a user is trained anew from a ledger without them."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from adapters_store import AdaptersStore
from consumers.runtime.malformed import unreported
from consumers.runtime.revisions import RevisionFollower
from pipeline.regions.bank import RegionBank
from pipeline.regions.unlearned import Replacement
from pipeline.streams import Log
from tests.consumers.ledgers import carry_out, copy_of_store, ledger_log, request_unlearning, weights, without_users
from tests.consumers.run_of_raie import the_run, the_setup

LONG = bool(os.environ.get("RAIE_SOAK"))
"""True where 20 users are unlearned, as `make soak` wants it."""


def users() -> list[str]:
    """Random users of the stream; the most active one comes first."""
    counts = Counter(str(record.key) for record in the_run().gated)
    ((most, _),) = counts.most_common(1)
    others = np.random.default_rng(0).permutation(sorted(set(counts) - {most})).tolist()
    return [most, *others[: 19 if LONG else 2]]


@pytest.fixture
def log() -> Log:
    return ledger_log(the_run())


@pytest.mark.parametrize("user", users())
def test_every_version_equals_that_of_a_ledger_without_the_user(log: Log, tmp_path: Path, user: str) -> None:
    store = copy_of_store(the_run(), tmp_path / "adapters")
    _, revision = carry_out(log, store, request_unlearning(log, user))
    assert revision is not None and revision.unlearned is not None
    expected, bank = without_users(the_run(), [user], tmp_path / "reference")
    assert all_weights(store, revision.unlearned.replaced) == expected
    assert_alike(bank_of(log, store), bank)


def all_weights(store: AdaptersStore, replaced: Mapping[str, Replacement | None]) -> dict[str, bytes | None]:
    """Weights that stand for each version of the replay, None where it gave way."""
    standing = {name: Replacement(name, 1.0) for name in the_run().versions} | dict(replaced)
    return {name: by and weights(store, by.adapter) for name, by in standing.items()}


def bank_of(log: Log, store: AdaptersStore) -> RegionBank:
    bank = the_setup().bank
    for _, revision in RevisionFollower(bank, store.arrays, unreported).poll(log):
        bank = revision.after(bank)
    return bank


def assert_alike(found: RegionBank, expected: RegionBank) -> None:
    """Compare shapes, weights and boundaries; versions have other numbers."""
    assert [r.region_id for r in found.live] == [r.region_id for r in expected.live]
    for one, other in zip(found.live, expected.live, strict=True):
        assert (one.radius, one.concentration, one.prior) == (other.radius, other.concentration, other.prior)
        assert one.adapter_weight == other.adapter_weight
        np.testing.assert_array_equal(one.centroid, other.centroid)
    np.testing.assert_array_equal(found.origins.weights, expected.origins.weights)
    np.testing.assert_array_equal(found.origins.coverage, expected.origins.coverage)
