"""The benchmark of the gate in its quick form: one JSON object with everything in it, and every event gone through."""

import json

import pytest
from torch import are_deterministic_algorithms_enabled, get_num_threads, set_num_threads, use_deterministic_algorithms

from benchmarks.consume import main


@pytest.fixture(autouse=True)
def _torch_as_before():  # type: ignore[no-untyped-def]
    threads, deterministic = get_num_threads(), are_deterministic_algorithms_enabled()
    yield
    set_num_threads(threads)
    use_deterministic_algorithms(deterministic)


def test_the_quick_form_prints_one_object_with_ratios(
    kafka_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The mean over users does not hang on their number.
    monkeypatch.setattr("benchmarks.consume.REMEMBERED_USERS", 500)
    main(["--quick", "--kafka", kafka_url])
    found = json.loads(capsys.readouterr().out)
    named = {"gate_over_bare_transactional", "gate_over_bare_encoder", "gate_over_bare_encoder_causal_lm"}
    assert found["ratios"].keys() >= named
    assert found["ratios"].keys() == found["ratios_by_processor_time"].keys()
    assert all(ratio > 0 for ratio in found["ratios"].values())
    with_model = {"gate", "handler", "encoder"}
    with_lm = {f"{way}_causal_lm" for way in with_model}
    ways = {"poll", "transactional", "ready_made", "gate_canned", *with_model, *with_lm}
    assert found["events_per_s"].keys() == ways
    assert found["events_a_transaction"] == 1_000 < found["events"]
    assert 0 < found["user_memory"]["bytes_a_user"] < 2_000
