"""Every strategy by name: a new one is a file and a row here.

The table names classes without importing them, so that the command line can list strategies at once;
`pipeline.strategies.registry` loads them.
"""

from collections.abc import Mapping

DEFAULT: Mapping[str, str] = {
    "static": "baselines.static:Static",
    "popularity": "baselines.popularity:Popularity",
    "popularity_recent": "baselines.popularity:PopularityRecent",
    "sequential_rules": "baselines.sequential_rules:SequentialRules",
    "finetune": "baselines.finetune:FineTune",
    "lora": "baselines.lora:Lora",
    "lora_replay": "baselines.lora:LoraReplay",
    "raie_k1": "baselines.lora:SingleAdapter",
    "ensemble": "baselines.ensemble:Ensemble",
    "ranker": "baselines.ranked:Ranker",
    "static_ranked": "baselines.ranked:StaticRanked",
    "finetune_ranked": "baselines.ranked:FineTuneRanked",
    "raie_k1_ranked": "baselines.ranked:SingleAdapterRanked",
    "ensemble_ranked": "baselines.ranked:EnsembleRanked",
    "raie_no_trend": "raie.ablations:RaieNoTrend",
    "raie": "raie.replayed:Raie",
}
"""Strategies of a replay that names none, one of each kind: name -> module and class under this package."""

FURTHER: Mapping[str, str] = {
    "popularity_window": "baselines.popularity_window:PopularityWindow",
    "finetune_replay": "baselines.finetune:FineTuneReplay",
    "retrain": "baselines.retrain:Retrain",
    "lora_frozen_replay": "baselines.lora:LoraFrozenReplay",
    "lora_rows": "baselines.lora:LoraRows",
    "lora_lwf": "baselines.lora_lwf:LoraLwf",
    "lsat": "baselines.lsat:Lsat",
    "mole": "baselines.mole:Mole",
    "ebpr": "baselines.ebpr:Ebpr",
    "peso": "baselines.peso:Peso",
    "evorec": "baselines.evorec:EvoRec",
    "live_update": "baselines.live_update:LiveUpdate",
    "adaptive_el": "baselines.adaptive_el:AdaptiveEl",
    "nearest": "baselines.nearest:Nearest",
    "ease": "baselines.ease:Ease",
    "item_knn": "baselines.item_knn:ItemKnn",
    "v_sknn": "baselines.v_sknn:VSknn",
    "stan": "baselines.stan:Stan",
    "recicl": "baselines.recicl:RecICL",
    "ensemble_25": "baselines.ensemble:Ensemble25",
    "ensemble_75": "baselines.ensemble:Ensemble75",
    "retrain_ranked": "baselines.ranked:RetrainRanked",
    "lora_replay_ranked": "baselines.ranked:LoraReplayRanked",
    "peso_ranked": "baselines.ranked:PesoRanked",
    "evorec_ranked": "baselines.ranked:EvoRecRanked",
    "live_update_ranked": "baselines.ranked:LiveUpdateRanked",
    "adaptive_el_ranked": "baselines.ranked:AdaptiveElRanked",
    "raie_taste": "raie.per_region:RaiePerRegion",
    "raie_centroids": "raie.ablations:RaieCentroids",
    "raie_global_trend": "raie.ablations:RaieGlobalTrend",
    "raie_no_eras": "raie.ablations:RaieNoOriginPrior",
    "raie_hard": "raie.ablations:RaieHard",
    "raie_no_expand": "raie.ablations:RaieNoExpand",
    "raie_no_add": "raie.ablations:RaieNoAdd",
    "raie_no_inject": "raie.ablations:RaieNoInject",
    "static_inject": "raie.ablations:StaticInject",
    "raie_replay": "raie.ablations:RaieReplay",
    "raie_frozen_rows": "raie.ablations:RaieFrozenRows",
    "raie_one": "raie.ablations:RaieOne",
    "raie_scheduled": "raie.scheduled:RaieScheduled",
    "raie_refresh": "raie.refreshed:RaieRefresh",
    "raie_refresh_no_trend": "raie.refreshed:RaieRefreshNoTrend",
}
"""All others: variants of these, ablations of `raie`, and slower baselines."""

OF_LANGUAGE_MODELS = frozenset({"recicl"})
"""Those that need `backbone.kind: causal_lm`; `all` leaves them out with another backbone."""
