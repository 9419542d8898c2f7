"""Checks of combinations of settings: some would rule out an edit, others any run."""

from collections.abc import Iterator

from pipeline.config.settings import Config


def unreachable(config: Config) -> list[str]:
    """Return the combinations of settings under which an edit or a run is impossible, one line each."""
    return [*_of_data(config), *_of_budget(config), *_of_monitor(config), *_of_backbone(config), *_of_users(config)]


def _of_data(config: Config) -> Iterator[str]:
    if config.data.finetune_from == 1:
        if config.protocol == "windows":
            yield "data.finetune_from is 1 (no stream), and protocol is `windows`: set protocol to prequential"
    elif config.data.finetune_from >= config.data.test_from:
        yield (
            f"data.finetune_from ({config.data.finetune_from}) must lie before data.test_from "
            f"({config.data.test_from}): F is empty otherwise"
        )


def _of_budget(config: Config) -> Iterator[str]:
    edits = config.edits
    for name in ("min_windows", "update_windows"):
        if getattr(edits, name) > edits.pool_windows:
            yield (
                f"edits.{name} ({getattr(edits, name)}) exceeds edits.pool_windows ({edits.pool_windows}): "
                "the edit can never fire; lower the former or raise the latter"
            )
    trained = config.training.epochs * (1.0 - edits.held_out)
    if trained > edits.passes_per_event * 10:
        yield (
            f"edits.passes_per_event ({edits.passes_per_event}) pays for less than a tenth of one edit of "
            f"{config.training.epochs} epochs: Add and Update can hardly fire; raise it to {trained:.3g} or "
            "lower training.epochs"
        )
    if edits.max_regions <= config.setup.regions:
        yield (
            f"edits.max_regions ({edits.max_regions}) leaves no room beside the {config.setup.regions} set-up "
            "regions: Add can never fire; raise it or lower setup.regions"
        )


def _of_monitor(config: Config) -> Iterator[str]:
    if not (config.monitor.novelty or config.monitor.loss):
        yield "monitor.novelty and monitor.loss are both off: Add can never fire; turn one on"
    if not config.monitor.doubt:
        yield "monitor.doubt is off: Expand can never fire between set-up regions; turn it on"


def _of_backbone(config: Config) -> Iterator[str]:
    backbone = config.backbone
    if backbone.kind == "causal_lm" and not backbone.model:
        yield "backbone.kind is causal_lm: backbone.model must name a language model (hub id or folder)"
    if backbone.kind != "causal_lm" and backbone.format != "items":
        yield (
            f"backbone.format is {backbone.format}, and backbone.kind {backbone.kind} knows `items` alone: set "
            "backbone.kind to causal_lm, or backbone.format to items"
        )
    if backbone.kind != "causal_lm" and config.compute.quantization == "int8":
        yield (
            f"compute.quantization is int8, and backbone.kind {backbone.kind} is no language model: set "
            "compute.quantization to none"
        )
    if backbone.kind != "causal_lm" and config.setup.train == "lora":
        yield f"setup.train is lora, and {backbone.kind} has no pretrained weights to train factors over: set it to all"
    if backbone.kind != "causal_lm" and config.setup.gradient_checkpointing:
        yield "setup.gradient_checkpointing is for backbone.kind causal_lm alone: set it to false"
    if backbone.kind != "causal_lm" and backbone.hidden_size % backbone.heads:
        yield (f"backbone.hidden_size ({backbone.hidden_size}) must be a multiple of backbone.heads ({backbone.heads})")
    if backbone.format == "examples" and config.refresh.begin_from == "distilled":
        yield (
            "refresh.begin_from is distilled, and the teacher of backbone.format `examples` would not know which "
            "dislikes came since its set-up: set refresh.begin_from to scratch or backbone"
        )
    if config.setup.accumulation > config.setup.batch_size:
        yield (
            f"setup.accumulation ({config.setup.accumulation}) exceeds setup.batch_size ({config.setup.batch_size}): "
            "a part has at least one window"
        )


def _of_users(config: Config) -> Iterator[str]:
    if config.consumers.lockstep and config.users.time_to_live is not None:
        yield (
            "users.time_to_live is set, and consumers.lockstep equals a replay, which forgets nobody: turn one of them "
            "off"
        )
