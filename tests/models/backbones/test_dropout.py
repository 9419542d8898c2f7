"""Dropout by bytes: the share, the mean, the gradient, and that it follows from the seed."""

import pytest
import torch

from pipeline.models.backbones.dropout import ByteDropout


@pytest.mark.parametrize("share", [0.2, 0.5, 0.999])
def test_it_drops_the_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(0)
    answer = ByteDropout(share)(torch.ones(1001, 997))

    assert float((answer == 0).float().mean()) == pytest.approx(min(round(256 * share), 255) / 256, abs=0.002)
    assert float(answer.mean()) == pytest.approx(1.0, abs=0.05 if share > 0.9 else 0.003)
    assert len(answer.unique()) == 2


def test_no_place_is_spared() -> None:
    torch.manual_seed(0)
    dropped = sum((ByteDropout(0.5)(torch.ones(3, 7)) == 0).long() for _ in range(400))

    assert int(dropped.min()) > 140
    assert int(dropped.max()) < 260


def test_the_mask_is_the_gradient() -> None:
    states = torch.ones(40, 5, requires_grad=True)
    answer = ByteDropout(0.3)(states)
    answer.sum().backward()

    torch.testing.assert_close(states.grad, answer.detach())


def test_one_seed_one_mask_and_each_call_another() -> None:
    drop, ones = ByteDropout(0.5), torch.ones(64, 64)
    torch.manual_seed(3)
    first, second = drop(ones), drop(ones)
    torch.manual_seed(3)

    torch.testing.assert_close(drop(ones), first)
    assert not torch.equal(first, second)


def test_nothing_is_drawn_where_nothing_is_dropped() -> None:
    before, ones = torch.get_rng_state(), torch.ones(8)

    assert ByteDropout(0.0)(ones) is ones
    assert ByteDropout(0.5).eval()(ones) is ones
    assert torch.equal(torch.get_rng_state(), before)
