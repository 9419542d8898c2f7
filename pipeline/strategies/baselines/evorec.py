"""EvoRec: an update of those layers alone whose outputs move with what users took since."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from pipeline.events.windows import PADDING, Ids, Windows, left_packed
from pipeline.models.backbones.base import last_states
from pipeline.strategies.baselines.lora import LoraRows


class EvoRec(LoraRows):
    """One adapter, of whose factors some 30% change in an update interval (after Liu et al., 2025).

    *Locate*: the window of each user before the interval and the one after it pass through the model. Layers are
    ordered by the mean cosine distance between their two outputs at the last position. The most sensitive ones are
    trained: as many as have at most `share` of the parameters of all layers that windows pass, and at least one.

    *Forget*: the frozen backbone, in place of the paper's lightweight sequence model, scores the items of a window for
    the user's newest window. Those below the mean score of the items that exist are outdated and leave the window,
    except the newest one. This threshold is a choice made here.

    *Update*: the located layers learn the filtered windows. In the paper only LoRA changes, since its model reads items
    as text. Here item rows and text projection are trained as well, as in the other baselines: new items would stay
    out of reach.

    Attributes:
        share: of the parameters of the factors.
    """

    name: ClassVar[str] = "evorec"
    share: ClassVar[float] = 0.3

    def _train(self, name: str, windows: Windows) -> None:
        self._fit(name, self._without_outdated(windows), self._seed, layers=self._located(name, windows))

    def _located(self, name: str, windows: Windows) -> list[str]:
        """Layers to train: the most sensitive ones, and those of the item vectors, which no window passes."""
        _, first = np.unique(windows.users, return_index=True)
        before = self._outputs(name, windows.contexts[first])
        after = self._outputs(name, newest_windows(windows)[0])
        factors = self._host.factors(name)
        moved = {each: 1.0 - float(functional.cosine_similarity(before[each], after[each]).mean()) for each in before}
        sizes = {layer: sum(factor.numel() for factor in factors[layer]) for layer in moved}
        return [*most_sensitive(moved, sizes, self.share), *(layer for layer in factors if layer not in moved)]

    def _outputs(self, name: str, contexts: Ids) -> dict[str, Tensor]:
        """(n, width) outputs at the last position of each layer that n windows pass, by its name."""
        # Item vectors are computed before, so that their layers give no output here.
        self._host.vectors(name)
        outputs: dict[str, Tensor] = {}
        with ExitStack() as hooks:
            for layer in self._host.factors(name):
                module = self._host.backbone.get_submodule(layer)
                hooks.callback(module.register_forward_hook(partial(_keep, outputs, layer)).remove)
            self._host.states(contexts, name)
        return outputs

    def _without_outdated(self, windows: Windows) -> Windows:
        """The windows without their outdated items."""
        newest, of_user = newest_windows(windows)
        states = last_states(self._host.states(newest, None))
        scores = states @ self._host.vectors(None)[1 : self._existence_after(windows).items + 1].T
        outdated = (scores < scores.mean(dim=1, keepdim=True)).cpu().numpy()
        kept = ~outdated[of_user[:, None], np.abs(windows.contexts) - 1] & (windows.contexts != PADDING)
        kept[:, -1] = True
        return replace(windows, contexts=left_packed(np.where(kept, windows.contexts, PADDING)))


def newest_windows(windows: Windows) -> tuple[Ids, Ids]:
    """(u, length) window of each user after the last of these events, and the (n,) number of each event's user."""
    users, of_user = np.unique(windows.users, return_inverse=True)
    last = np.zeros(len(users), dtype=np.int64)
    np.maximum.at(last, of_user, np.arange(len(windows)))
    return np.concatenate([windows.contexts[last, 1:], windows.targets[last, None]], axis=1), of_user


def most_sensitive(moved: Mapping[str, float], sizes: Mapping[str, int], share: float) -> list[str]:
    """Layers with the largest distances that have at most a share of all parameters together, and at least one.

    Args:
        moved: distance between the outputs of each layer.
        sizes: number of parameters of each layer.
        share: of the parameters of these layers.
    """
    order = sorted(moved, key=lambda layer: -moved[layer])
    within = np.cumsum([sizes[layer] for layer in order]) <= share * sum(sizes.values())
    return order[: max(1, int(within.sum()))]


def _keep(outputs: dict[str, Tensor], layer: str, module: nn.Module, inputs: object, output: Tensor) -> None:  # noqa: ARG001
    """Forward hook that keeps the output of a layer at the last position."""
    outputs[layer] = last_states(output)
