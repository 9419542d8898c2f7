"""Records that were read have the types of their dataclass, or are refused by the name of the field."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.events.edit import Evidence, Outcome
from pipeline.events.field_types import checked, time_of
from pipeline.events.gated import OnlineFeatures
from pipeline.events.user_state import UserState
from pipeline.events.windows import History
from pipeline.regions.region import Origin, Region, Status

REGION = Region(1, 0, Status.LIVE, Origin.BASE, None, np.ones(3), 1.0, 2, 0.5)
ONLINE = OnlineFeatures(0.5, [[1, 0.5]], None)  # type: ignore[list-item]
USER = UserState(History(("i",), 1), "e", 1.0)


@pytest.mark.parametrize("record", [REGION, ONLINE, USER, Evidence("e", 1, 2)])
def test_a_record_of_the_right_types_is_returned_as_it_is(record: Any) -> None:
    assert checked(record) is record


@pytest.mark.parametrize(
    ("record", "changes"),
    [
        (REGION, {"region_id": True}),
        (REGION, {"region_id": 2**63}),
        (REGION, {"radius": float("nan")}),
        (REGION, {"radius": 1e300}),
        (REGION, {"parent": "1"}),
        (REGION, {"status": "live "}),
        (REGION, {"centroid": np.array([np.inf])}),
        (REGION, {"adapter": "\ud800"}),
        (ONLINE, {"setup_shares": [[1]]}),
        (ONLINE, {"setup_shares": 5}),
        (ONLINE, {"candidates": [1]}),
        (USER, {"history": History(("i", 1), 1)}),  # type: ignore[arg-type]
        (USER, {"timestamp": -1.0}),
        (USER, {"timestamp": 1e300}),
        (USER, {"seen": "text"}),
    ],
)
def test_a_field_of_another_type_is_named(record: Any, changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(TypeError, match=f"{name} of {type(record).__name__}"):
        checked(replace(record, **changes))


def test_an_outcome_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="published of Outcome"):
        Outcome.from_record({"edit_id": "e", "operation": "add", "region_id": 1, "published": 1, "detail": ""})


def test_only_a_number_that_a_record_can_have_is_its_time() -> None:
    assert [time_of(value) for value in (1, 1.5, -1, True, "1", None, 1e300, 10**400)] == [1.0, 1.5, *[None] * 6]
