"""Teacher of a refresh: the probabilities of the pipeline before, by item id, and a student that learns them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config import Config
from pipeline.errors import DataError
from pipeline.events.windows import Ids
from pipeline.models.backbones.base import Backbone, fingerprint
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.backbones.warm_start import begin_from
from pipeline.setup import training
from pipeline.setup.checkpoint import FILE
from pipeline.setup.teacher import Teacher
from pipeline.setup.training import train_backbone
from tests.consumers.run_of_raie import SETTINGS, the_setup
from tests.replay.small import config
from tests.setup.taught import (
    UNSEEN,
    catalogue,
    last,
    probabilities,
    served,
    since_setup,
    strengthened,
    teacher,
    windows,
)


def without_adapters(of: Teacher) -> Teacher:
    """The same teacher, of which the backbone alone answers."""
    regions = [replace(region, adapter=None) for region in of.bank.stream]
    return replace(of, bank=of.bank.changed(*regions))


def student(seed: int = 1) -> Backbone:
    """A backbone that begins with the weights of the old one."""
    backbone = build_backbone(SETTINGS.backbone, SETTINGS.windows.length, catalogue(), seed)
    begin_from(backbone, catalogue(), the_setup().backbone, the_setup().catalogue)
    return backbone


def learned() -> Ids:
    """Numbers of the windows that a student is trained on; the others are held out."""
    warm = np.flatnonzero(~windows().cold)
    return warm[warm % 10 > 0]


def taught(settings: Config, of: Teacher, **kwargs) -> Backbone:
    backbone, chosen = student(), learned()
    held_out = np.setdiff1d(np.flatnonzero(~windows().cold), chosen)
    train_backbone(backbone, settings, windows()[chosen], windows()[held_out], 0, teacher=of.select(chosen), **kwargs)
    return backbone


def divergence(backbone: Backbone, of: Teacher, chosen: Ids) -> Tensor:
    """(n,) KL divergence of a student from a teacher, over the items that the teacher knows."""
    rows, found = probabilities(of.select(chosen), windows()[chosen])
    with torch.inference_mode():
        vectors = backbone.items.all()
        logits = (
            backbone.last(backbone.windows(windows().contexts[chosen]), vectors) @ vectors[torch.from_numpy(rows)].T
        )
    expected = torch.from_numpy(found).log().log_softmax(dim=1)
    return (expected.exp() * (expected - logits.log_softmax(dim=1))).sum(dim=1)


def test_its_probabilities_are_those_of_the_gate_without_the_second_stage() -> None:
    number = np.arange(len(windows()))[-64:]
    rows, found = probabilities(teacher().select(number), windows()[number])
    theirs, existence = served()._items.of(last())
    batch = served()._gate.score_content(theirs.contexts, theirs.since_setup, existence.at(len(theirs) - 1))
    backbone, mixed = (batch.route[:, column] > 0 for column in (0, 1))
    assert (backbone & mixed).any() and (mixed & ~backbone).any()
    of_gate = [batch.scores.of(np.full(len(theirs), row))[0] for row in teacher().rows[rows]]
    np.testing.assert_allclose(found, np.stack(of_gate, axis=1), rtol=1e-4, atol=1e-9)


def test_it_has_no_opinion_about_items_that_nobody_has_learned_or_that_have_ended() -> None:
    rows, found = probabilities(teacher().select(np.arange(1)), windows()[:1])
    assert found.sum() < 1.0
    host, row_of = served().live.host, served()._items.catalogue.row_of
    moved = {*host.injected()[0].tolist(), *(row for name in host.names for row in host.rows(name))}
    of_setup = np.flatnonzero(the_setup().counts).tolist()
    learned = {item_id for item_id, row in row_of.items() if row in moved.union(of_setup)}
    assert {catalogue().item_ids[row - 1] for row in rows} == learned
    assert UNSEEN not in learned and not row_of.keys() <= learned and not moved <= set(of_setup)
    ended = np.ones(served()._items.catalogue.rows + 1, dtype=np.bool_)
    ended[[0, row_of[catalogue().item_ids[rows[3] - 1]]]] = False
    live, floor = served().live, teacher().floor
    fewer = Teacher.of(the_setup(), live, floor, row_of, ended, catalogue(), since_setup())
    assert set(rows.tolist()) - set(np.flatnonzero(fewer.known).tolist()) == {rows[3]}


def test_the_backbone_answers_for_an_adapter_that_is_not_loaded() -> None:
    number = np.arange(len(windows()))[-64:]
    (name,) = served().live.host.names
    lost = [replace(region, adapter="r0009_v0009") for region in teacher().bank.stream]
    found = probabilities(replace(teacher(), bank=teacher().bank.changed(*lost)).select(number), windows()[number])[1]
    alone = probabilities(without_adapters(teacher()).select(number), windows()[number])[1]
    assert name != "r0009_v0009" and np.array_equal(found, alone)
    assert not np.allclose(found, probabilities(teacher().select(number), windows()[number])[1], rtol=0.1)


def test_without_targets_a_student_learns_what_the_adapter_had_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "WEIGHT", 1.0)
    steps = ("setup.learning_rate=0.003", "setup.batch_size=128", "backbone.dropout=0")
    chosen, began = learned(), student().eval()
    adapted = chosen[since_setup()[chosen] > 3]
    with strengthened(3.0):
        best = taught(config("setup.max_epochs=12", "setup.patience=12", *steps), teacher())
        before, after = (divergence(backbone, teacher(), adapted).mean() for backbone in (began, best))
        assert before > 0.03 and after < 0.4 * before
        # It is nearer to both together than to the old backbone, which it was.
        assert after < divergence(best, without_adapters(teacher()), adapted).mean()
        assert divergence(began, without_adapters(teacher()), adapted).mean() < 0.1 * before


def test_the_same_teacher_has_the_same_identity_and_any_other_another() -> None:
    of = teacher()
    moved = replace(of.bank.stream[0], adapter_weight=0.5)
    others = [
        without_adapters(of),
        replace(of, bank=of.bank.changed(moved)),
        replace(of, since_setup=of.since_setup + 1),
        replace(of, rows=np.append(of.rows, 0)),
        replace(of, backbone_sha256="another"),
    ]
    assert served().teacher(last(), catalogue(), since_setup()).identity() == of.identity()
    identities = {of.identity(), *(other.identity() for other in others)}
    with strengthened(2.0):
        identities.add(of.identity())
    assert len(identities) == 2 + len(others)


def test_its_answers_take_no_more_memory_than_was_said() -> None:
    answers = teacher().answer(windows(), torch.device("cpu"))
    tensors = [tensor for of in answers._by_adapter for tensor in vars(of).values()]
    taken = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert taken <= teacher().memory_bytes <= 2 * taken


class Killed(Exception):
    pass


def test_an_interrupted_training_goes_on_to_the_same_bytes_with_its_teacher_alone(tmp_path) -> None:
    settings = config("setup.max_epochs=3", "setup.patience=3")
    batches = -(-len(learned()) // settings.setup.batch_size)

    def killed(done: int, _: int) -> None:
        if done == batches + 1:
            raise Killed

    expected = fingerprint(taught(settings, teacher()), "")
    with pytest.raises(Killed):
        taught(settings, teacher(), checkpoint=tmp_path, on_batch=killed)
    assert (tmp_path / FILE).exists()
    with pytest.raises(DataError, match="other settings, data, teacher or package versions"):
        taught(settings, without_adapters(teacher()), checkpoint=tmp_path)
    steps: list[int] = []
    found = taught(settings, teacher(), checkpoint=tmp_path, on_batch=lambda done, _: steps.append(done))
    assert steps[0] == batches + 1
    assert fingerprint(found, "") == expected != fingerprint(taught(settings, without_adapters(teacher())), "")
