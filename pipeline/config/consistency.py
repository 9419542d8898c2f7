"""Combinations of settings under which an edit could never happen, or nothing could run."""

from pipeline.config.settings import Config


def unreachable(config: Config) -> list[str]:
    """Combinations of settings under which an edit could never happen, one line each."""
    edits, problems = config.edits, []
    if config.data.finetune_from >= config.data.test_from:
        problems.append(
            f"data.finetune_from ({config.data.finetune_from}) must lie before data.test_from "
            f"({config.data.test_from}): F is empty otherwise"
        )
    for name in ("min_windows", "update_windows"):
        if getattr(edits, name) > edits.pool_windows:
            problems.append(
                f"edits.{name} ({getattr(edits, name)}) exceeds edits.pool_windows ({edits.pool_windows}): "
                "the edit can never fire; lower the former or raise the latter"
            )
    trained = config.training.epochs * (1.0 - edits.held_out)
    if trained > edits.passes_per_event * 10:
        problems.append(
            f"edits.passes_per_event ({edits.passes_per_event}) pays for less than a tenth of one edit of "
            f"{config.training.epochs} epochs: Add and Update can hardly fire; raise it to {trained:.3g} or "
            "lower training.epochs"
        )
    if edits.max_regions <= config.setup.regions:
        problems.append(
            f"edits.max_regions ({edits.max_regions}) leaves no room beside the {config.setup.regions} set-up "
            "regions: Add can never fire; raise it or lower setup.regions"
        )
    if not (config.monitor.novelty or config.monitor.loss):
        problems.append("monitor.novelty and monitor.loss are both off: Add can never fire; turn one on")
    if not config.monitor.doubt:
        problems.append("monitor.doubt is off: Expand can never fire between set-up regions; turn it on")
    if config.backbone.kind == "causal_lm" and not config.backbone.model:
        problems.append("backbone.kind is causal_lm: backbone.model must name a language model (hub id or folder)")
    if config.backbone.kind != "causal_lm" and config.backbone.hidden_size % config.backbone.heads:
        problems.append(
            f"backbone.hidden_size ({config.backbone.hidden_size}) must be a multiple of backbone.heads "
            f"({config.backbone.heads})"
        )
    return problems
