"""The sections of the model: windows, data, items, backbone, set-up, loss, adapters and their training."""

from typing import Literal

from pydantic import Field

from pipeline.config.section import Section


class WindowSettings(Section):
    """What a window is."""

    length: int = Field(10, ge=1, le=1000, description="items of a window: how much of a user's past is looked at")
    stride: int = Field(5, ge=1, description="protocol `windows`: events between the targets of two scored windows")


class DataSettings(Section):
    """Which interactions count, and how the log is cut."""

    positive_from: float | None = Field(
        None,
        description=(
            "least value of an interaction that counts; null: the reader's default (MovieLens 4, MovieTweetings "
            "7, otherwise every interaction)"
        ),
    )
    finetune_from: float = Field(
        0.5, gt=0, lt=1, description="quantile of the positive interactions' times at which F begins"
    )
    test_from: float = Field(0.8, gt=0, lt=1, description="quantile at which T begins")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="generic logs: our name -> the file's column, e.g. {user_id: customer, timestamp: bought_at}",
    )


class ItemSettings(Section):
    """How items are known by their text."""

    text_encoder: str = Field(
        "auto",
        description=(
            "`auto` (MiniLM if its package is installed, else `hashing`), `hashing`, `none`, or a hub id or "
            "folder of a Hugging Face encoder"
        ),
    )
    cache: str = Field("~/.cache/raie/text", description="folder that keeps text embeddings by content hash")


class BackboneSettings(Section):
    """The frozen sequence model."""

    kind: Literal["sasrec", "bert4rec", "causal_lm"] = Field("sasrec", description="architecture")
    model: str | None = Field(None, description="`causal_lm`: hub id or folder of the language model")
    hidden_size: int = Field(64, ge=4, description="width of item vectors and states (sasrec, bert4rec)")
    blocks: int = Field(2, ge=1, description="transformer blocks (sasrec, bert4rec)")
    heads: int = Field(2, ge=1, description="attention heads (sasrec, bert4rec)")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout in set-up training (sasrec, bert4rec)")


class SetupSettings(Section):
    """What happens once, on the set-up slice."""

    max_epochs: int = Field(30, ge=1, description="most passes over the set-up windows")
    patience: int = Field(5, ge=1, description="epochs without a better held-out recall before training stops")
    batch_size: int = Field(256, ge=1, description="windows of a training step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    validation_share: float = Field(
        0.1, gt=0, lt=0.5, description="share of set-up windows held out for stopping and for calibrating the gate"
    )
    regions: int = Field(6, ge=1, description="set-up regions")
    radius_quantile: float = Field(0.9, gt=0, lt=1, description="share of a region's windows within its radius")
    reference_windows: int = Field(4096, ge=64, description="set-up windows kept to tell `as set-up` from `as since`")


class SoftmaxSettings(Section):
    """The training loss."""

    full_up_to: int = Field(50_000, ge=1, description="catalogue size up to which the softmax is full")
    negatives: int = Field(8_192, ge=1, description="negatives a step beyond that, with importance correction")


class AdapterSettings(Section):
    """One adapter configuration for all regions of a backbone."""

    rank: int = Field(8, ge=1, description="of the LoRA factors")
    alpha: float = Field(16.0, gt=0, description="LoRA scale: alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="on the input of the LoRA factors in training")
    item_rows: bool = Field(True, description="whether an adapter moves the rows of the items it has met")
    text_projection: bool = Field(True, description="whether an adapter moves the text projection, by a low-rank delta")


class TrainingSettings(Section):
    """How an adapter is trained, in every edit and every baseline alike."""

    epochs: int = Field(2, ge=1, description="passes over the windows of an edit")
    batch_size: int = Field(64, ge=1, description="windows of a training step")
    learning_rate: float = Field(
        1e-3, gt=0, description="of Adam, for the low-rank factors (all weights in `finetune`)"
    )
    row_learning_rate: float = Field(3e-3, gt=0, description="of Adam, for item rows inside adapters")
    epsilon: float = Field(
        1e-3,
        gt=0,
        description="of Adam, beside the root of the mean squared gradient: far smaller gradients move little",
    )
