"""The benchmark of memory in set-up runs, and states what LoRA saves."""

import json

from benchmarks.setup_memory import main


def test_it_states_peaks_estimates_and_ratios(capsys):
    main(["--layers", "2", "--items", "50", "--set", "setup.batch_size=8"])
    result = json.loads(capsys.readouterr().out)
    assert set(result["ratios"]) == {"lora", "estimate_all", "estimate_lora"}
    assert result["gigabytes"]["all"] > result["gigabytes"]["lora"] > result["idle"] > 0.0
    assert result["estimated"]["all"] > 2 * result["estimated"]["lora"]
