"""Sections of the model: windows, data, items, device, backbone, set-up, loss, adapters and their training."""

from typing import Any, Literal

from pydantic import Field, field_validator

from pipeline.config.section import Section


class WindowSettings(Section):
    """Windows: the newest items of a user, from which the next one is predicted."""

    length: int = Field(10, ge=1, le=1000, description="number of items of a window")
    repeats: bool = Field(
        False,
        description=(
            "true: an item of the window may be recommended again, and is a rival in every rank; false: it is neither, "
            "and an interaction with it is a miss; the same in replay, gate and server"
        ),
    )
    stride: int = Field(5, ge=1, description="protocol `windows`: events between the targets of two scored windows")


class DataSettings(Section):
    """Positive interactions, and the slices S (set-up), F (fine-tuning) and T (test) of the log."""

    positive_from: float | None = Field(
        None,
        description=(
            "smallest value of a positive interaction; null: the reader's default (MovieLens 4, MovieTweetings "
            "7, otherwise every interaction is positive), for a gate that of set-up"
        ),
    )
    event_types: dict[str, bool] = Field(
        default_factory=dict,
        description=(
            "kind of event -> whether it counts as an interaction, e.g. {view: true, purchase: true, dislike: false}; "
            "a kind that is missing here is refused; {}: kinds are not looked at"
        ),
    )
    finetune_from: float = Field(
        0.5,
        gt=0,
        le=1,
        description=(
            "start of F, as a quantile of the timestamps of positive interactions; 1: `raie setup` learns from the "
            "whole log, and nothing is left to replay"
        ),
    )
    test_from: float = Field(0.8, gt=0, lt=1, description="start of T, likewise")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "field -> column of the file, or key of a record of `interactions`, e.g. {user_id: customer, timestamp: "
            "bought_at}; the number of the column where the file has no names"
        ),
    )
    items: str | None = Field(
        None, description="file of items; null: the one beside the interactions, if its name shows it"
    )
    repeats: Literal["refuse", "keep"] = Field(
        "refuse",
        description="identical rows without an event id: refused as duplicates, or kept as events of their own",
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _numbers_are_names(cls, columns: Any) -> Any:
        """Accept `--set data.columns.user_id=1`, which YAML reads as a number."""
        if not isinstance(columns, dict):
            return columns
        return {name: str(column) if type(column) is int else column for name, column in columns.items()}

    @field_validator("event_types", mode="before")
    @classmethod
    def _kinds_in_lower_case(cls, kinds: Any) -> Any:
        """Accept numbers as kinds, and any case."""
        if not isinstance(kinds, dict):
            return kinds
        return {str(kind).strip().lower(): counts for kind, counts in kinds.items()}


class ItemSettings(Section):
    """Items: text embeddings, and how they enter and leave the catalogue."""

    text_encoder: str = Field(
        "auto",
        description=(
            "`auto` (MiniLM if its package is installed, else `hashing`), `hashing`, `none`, or a hub id or "
            "folder of a Hugging Face encoder"
        ),
    )
    cache: str = Field("~/.cache/raie/text", description="folder of cached text embeddings, by content hash")
    unknown: Literal["add", "refuse"] = Field(
        "add",
        description="an interaction with an item that nobody announced: `add` the item, or `refuse` the interaction",
    )
    time_to_live: float | None = Field(
        None, gt=0, description="seconds of event time without an interaction after which an item is evicted"
    )
    most: int = Field(1_000_000, ge=1, description="items at most; beyond it the longest untaken are evicted")


class ComputeSettings(Section):
    """Device and precision of the backbone, in set-up, replay, gate, trainer and server."""

    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description=(
            "`cpu`, `cuda`, `cuda:N` or `mps`; `auto`: the kind that the set-up was made on, and for a new one cuda, "
            "mps or cpu, the first that there is"
        ),
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description=(
            "numbers of the frozen backbone, all but its item vectors; adapters are float32; `auto`: those of the "
            "set-up, and for a new one bfloat16 for a `causal_lm` where the processor computes with it, else float32"
        ),
    )
    quantization: Literal["auto", "none", "int8"] = Field(
        "auto",
        description=(
            "`int8`: the linear layers of a frozen `causal_lm` hold 8 bits a weight, and compute in `precision` (needs "
            "`pip install 'raie-stream[int8]'`); `none`: all weights are of `precision`; `auto`: that of the set-up, "
            "and `none` for a new one"
        ),
    )


class BackboneSettings(Section):
    """Frozen sequence model."""

    kind: Literal["sasrec", "bert4rec", "causal_lm"] = Field("sasrec", description="architecture")
    model: str | None = Field(
        None,
        description=(
            "`causal_lm`: hub id or folder of the language model, or `smollm2-135m`, which pip installs "
            "(docs/guides/language-model.md)"
        ),
    )
    layers: int | None = Field(
        None, ge=1, description="`causal_lm`: number of first layers that are kept; null: all of them"
    )
    format: Literal["items", "text", "examples"] = Field(
        "items",
        description=(
            "what the language model reads of an item of a window: `items`: one position, the item's vector; `text`: "
            "the tokens of its text, and then its vector; `examples`: as `text`, with `Yes` before the vector, and "
            "`No` for interactions below `data.positive_from`, which windows hold as well "
            "(docs/guides/language-model.md)"
        ),
    )
    text_tokens: int = Field(
        16, ge=1, description="`format: text` and `examples`: tokens of an item's text at most; longer texts are cut"
    )
    cache: str = Field("~/.cache/raie/models", description="folder of language models that were converted once")
    hidden_size: int = Field(64, ge=4, description="width of item vectors and states (sasrec, bert4rec)")
    blocks: int = Field(2, ge=1, description="transformer blocks (sasrec, bert4rec)")
    heads: int = Field(2, ge=1, description="attention heads (sasrec, bert4rec)")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout in set-up training (sasrec, bert4rec)")


class SetupSettings(Section):
    """Set-up: training of the backbone, clustering and calibration on slice S."""

    max_epochs: int = Field(30, ge=1, description="maximum number of passes over the set-up windows")
    patience: int = Field(5, ge=1, description="epochs without a better held-out recall before training stops")
    batch_size: int = Field(256, ge=1, description="windows per training step")
    train: Literal["all", "lora"] = Field(
        "all",
        description=(
            "`all` weights, or, of a `causal_lm`, item vectors and `lora` factors over the frozen weights, which are "
            "merged into them afterwards"
        ),
    )
    lora_rank: int = Field(16, ge=1, description="`train: lora`: rank of the factors")
    lora_alpha: float = Field(32.0, gt=0, description="`train: lora`: numerator of the scale alpha / rank")
    gradient_checkpointing: bool = Field(
        False, description="`causal_lm`: compute activations again in the backward pass instead of keeping them"
    )
    accumulation: int = Field(
        1, ge=1, description="parts of a training step that are computed one after the other, in less memory"
    )
    learning_rate: float = Field(1e-3, gt=0, description="learning rate of Adam")
    validation_share: float = Field(
        0.1, gt=0, lt=0.5, description="share of set-up windows held out for early stopping and for gate calibration"
    )
    regions: int = Field(6, ge=1, description="number of set-up regions")
    radius_quantile: float = Field(0.9, gt=0, lt=1, description="share of a region's windows within its radius")
    reference_windows: int = Field(
        4096, ge=64, description="set-up windows kept as negative examples of the origin classifier"
    )


class SoftmaxSettings(Section):
    """Softmax of the training loss."""

    full_up_to: int = Field(50_000, ge=1, description="catalogue size up to which the softmax is full")
    negatives: int = Field(
        8_192, ge=1, description="sampled negatives per step for larger catalogues, with importance correction"
    )


class AdapterSettings(Section):
    """LoRA adapters; the configuration is the same for all regions of a backbone."""

    rank: int = Field(8, ge=1, description="rank of the LoRA factors")
    alpha: float = Field(16.0, gt=0, description="numerator of the LoRA scale alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of the LoRA factors in training")
    item_rows: bool = Field(True, description="adapters also train embedding rows, of the items in their windows")
    text_projection: bool = Field(True, description="adapters also train a low-rank delta of the text projection")


class TrainingSettings(Section):
    """Training of adapters, the same in every edit and every baseline."""

    epochs: int = Field(2, ge=1, description="passes over the windows of an edit")
    batch_size: int = Field(64, ge=1, description="windows per training step")
    learning_rate: float = Field(
        1e-3, gt=0, description="learning rate of Adam for the low-rank factors (for all weights in `finetune`)"
    )
    row_learning_rate: float = Field(3e-3, gt=0, description="learning rate of Adam for item rows inside adapters")
    epsilon: float = Field(
        1e-3,
        gt=0,
        description=(
            "epsilon of Adam, added to the root of the mean squared gradient; it damps the steps of far smaller "
            "gradients"
        ),
    )
