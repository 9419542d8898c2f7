import pytest

from pipeline.datasets.splits import cut
from pipeline.errors import DataError


def test_cuts_are_order_statistics_and_belong_to_the_earlier_slice():
    slices = cut([9, 1, 8, 2, 7, 3, 6, 4, 5, 0])
    assert (slices.setup_until, slices.finetune_until) == (5, 8)
    assert [slices.of(t) for t in range(10)] == list("SSSSSSFFFT")


def test_events_of_one_second_stay_together():
    slices = cut([1] * 7 + [2] * 2 + [3] * 1)
    assert [slices.of(t) for t in (1, 2, 3)] == ["S", "F", "T"]


def test_quantiles_are_up_to_the_caller():
    slices = cut(range(100), (0.1, 0.2))
    assert (slices.setup_until, slices.finetune_until) == (10, 20)


def test_an_empty_slice_comes_with_numbers_and_a_way_out():
    with pytest.raises(DataError, match=r"slice F and T would be empty: 4 .* at 1 different .* S=4, F=0, T=0\. Use"):
        cut([7.0] * 4)
    with pytest.raises(DataError, match="slice T would be empty"):
        cut([1, 2, 2, 3, 3])


@pytest.mark.parametrize("quantiles", [(0, 0.5), (0.8, 0.5), (0.5, 0.5), (0.5, 1)])
def test_quantiles_out_of_order_are_refused(quantiles):
    with pytest.raises(DataError, match="0 < S < F < 1"):
        cut(range(10), quantiles)


def test_no_positive_interaction_is_an_error_of_its_own():
    with pytest.raises(DataError, match="no positive interaction"):
        cut([])
