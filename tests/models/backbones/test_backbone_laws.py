"""What holds for every backbone, whatever its architecture."""

import pytest
import torch

from pipeline.models.backbones.base import fingerprint, mean_states
from tests.models.backbones.small import CONTEXTS, EMPTY, ITEMS, KINDS, LENGTH, scores, small_backbone


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_states_and_vectors_have_the_promised_shapes(kind: str) -> None:
    states, vectors = small_backbone(kind)(CONTEXTS)
    assert states.shape[0] == len(CONTEXTS)
    assert states.shape[2] == vectors.shape[1]
    assert vectors.shape[0] == ITEMS + 1


@torch.inference_mode()
def test_an_encoding_is_a_unit_vector_and_tells_windows_apart(kind: str) -> None:
    states, _ = small_backbone(kind)(CONTEXTS)
    means = mean_states(states, CONTEXTS)
    torch.testing.assert_close(means.norm(dim=1), torch.ones(len(CONTEXTS)))
    assert (means @ means.T).fill_diagonal_(0).max() < 0.999


@torch.inference_mode()
def test_an_empty_window_has_a_finite_unit_encoding_and_finite_scores(kind: str) -> None:
    model = small_backbone(kind)
    both = torch.cat([EMPTY, CONTEXTS])
    encoded = mean_states(model(both)[0], both)
    assert encoded.isfinite().all()
    torch.testing.assert_close(encoded[0].norm(), torch.tensor(1.0))
    assert scores(model, both).isfinite().all()


def test_what_the_padding_row_holds_does_not_matter(kind: str) -> None:
    model = small_backbone(kind)
    before = scores(model, torch.cat([EMPTY, CONTEXTS]))
    with torch.no_grad():
        model.items.rows.weight[0] += 1e3
    after = scores(model, torch.cat([EMPTY, CONTEXTS]))
    torch.testing.assert_close(after[:, 1:], before[:, 1:], rtol=0, atol=0)


def test_a_language_model_does_not_see_how_long_the_padding_is() -> None:
    model = small_backbone("causal_lm")
    torch.testing.assert_close(scores(model, CONTEXTS[1:2, 2:]), scores(model, CONTEXTS[1:2]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("causal", ["sasrec", "causal_lm"])
@torch.inference_mode()
def test_the_future_does_not_leak(causal: str) -> None:
    model = small_backbone(causal)
    changed = CONTEXTS.clone()
    changed[:, -1] = 11
    before, after = model(CONTEXTS)[0], model(changed)[0]
    assert torch.equal(before[:, :-1] * (CONTEXTS[:, :-1, None] > 0), after[:, :-1] * (CONTEXTS[:, :-1, None] > 0))
    assert not torch.equal(before[:, -1], after[:, -1])


@torch.inference_mode()
def test_bert4rec_reads_both_ways() -> None:
    model = small_backbone("bert4rec")
    changed = CONTEXTS.clone()
    changed[:, -1] = 11
    before, after = model(CONTEXTS)[0], model(changed)[0]
    assert not torch.isclose(before[2, 0], after[2, 0]).all()


def test_every_item_of_a_window_and_their_order_matter(kind: str) -> None:
    model = small_backbone(kind)
    window = CONTEXTS[2:3]
    for place in range(LENGTH):
        changed = window.clone()
        changed[0, place] = 12
        assert not torch.allclose(scores(model, changed), scores(model, window), atol=1e-5)
    assert not torch.allclose(scores(model, window.flip(1)), scores(model, window), atol=1e-5)


def test_scores_do_not_depend_on_the_rest_of_the_batch(kind: str) -> None:
    model = small_backbone(kind)
    together = scores(model, CONTEXTS)
    alone = torch.cat([scores(model, window[None]) for window in CONTEXTS])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_the_text_of_an_item_changes_its_score(kind: str) -> None:
    model = small_backbone(kind)
    before = scores(model, CONTEXTS)
    model.items.text[10] += 5.0
    changed = (scores(model, CONTEXTS) - before).abs().max(dim=0).values > 1e-6
    assert changed.nonzero().flatten().tolist() == [10]


def test_without_text_there_is_no_projection(kind: str) -> None:
    model = small_backbone(kind, text_dimensions=0)
    assert model.items.projection is None
    assert scores(model, CONTEXTS).isfinite().all()


def test_the_seed_decides_the_weights_and_the_callers_random_state_is_left_alone(kind: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = small_backbone(kind, seed=1)
    assert torch.equal(torch.rand(3), expected)
    again, other = small_backbone(kind, seed=1), small_backbone(kind, seed=2)
    assert fingerprint(first, "") == fingerprint(again, "") != fingerprint(other, "")


def test_an_adapter_target_is_a_linear_layer_of_the_backbone(kind: str) -> None:
    model = small_backbone(kind)
    for target in model.adapter_targets:
        found = [part for name, part in model.named_modules() if name.endswith(f".{target}")]
        assert found
        assert all(isinstance(part, torch.nn.Linear) for part in found)


def test_a_fingerprint_sees_every_weight_and_the_encoder_and_no_text(kind: str) -> None:
    model = small_backbone(kind)
    seen = {fingerprint(model, "one"), fingerprint(model, "another")}
    for tensor in model.state_dict().values():
        tensor.view(-1)[-1] += 1.0
        seen.add(fingerprint(model, "one"))
    assert len(seen) == len(model.state_dict()) + 2
    model.items.text += 1.0
    assert fingerprint(model, "one") in seen
