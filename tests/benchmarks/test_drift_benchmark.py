"""The drift benchmark in its quick form: one complete JSON object, and dummies that alarm always and never."""

import json

import pytest

from benchmarks.drift import ALPHA, DETECTORS, DRIFTS, OVERLAPPING, RESTARTING, false_alarms, main


def test_the_quick_form_prints_one_object_with_ratios(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # KSWIN takes a millisecond per value; its laws are tested beside those of the others.
    monkeypatch.setattr("benchmarks.drift.EVENTS", 1_000)
    monkeypatch.setattr("benchmarks.drift.DETECTORS", {k: v for k, v in DETECTORS.items() if k != "kswin"})
    monkeypatch.setattr("benchmarks.drift.RIVER", ("adwin", "page_hinkley"))
    monkeypatch.setattr("benchmarks.drift.RESTARTING", tuple(name for name in RESTARTING if name != "kswin"))
    main(["--quick"])
    found = json.loads(capsys.readouterr().out)
    assert set(found["delay"]) == set(DRIFTS)
    assert {f"delay_sudden_{size}" for size in DRIFTS["sudden"].sizes} <= set(found["ratios"])
    assert found["ratios"]["arl_over_asked"] > 0
    assert {name for name in found["ratios"] if name.startswith("microseconds")} == {
        "microseconds_target_over_ours_2000_events",
        "microseconds_target_over_ours_20000_events",
    }
    for length in ("2000", "20000"):
        theirs, alone = found["microseconds"][length], found["microseconds_of_river"][length]
        assert min(theirs.values()) > 0
        assert set(alone) == {"adwin", "page_hinkley"}
        assert min(alone.values()) > 0
    assert (found["false_alarms"]["always"]["share"], found["false_alarms"]["never"]["share"]) == (1.0, 0.0)
    assert set(found["f1"]) == set(DRIFTS)
    assert {(of["always"], of["never"]) for of in found["f1"].values()} == {(0.0, 0.0)}
    sudden = found["delay"]["sudden"]["2.0"]
    assert 1.0 <= sudden["ours"]["mean"] < sudden["never"]["mean"] == 2_000
    assert sudden["ours"]["missed"] == 0


def test_quiet_streams_keep_the_bound_unless_windows_overlap() -> None:
    streams = 12
    most = streams * ALPHA + 3 * (streams * ALPHA) ** 0.5
    assert false_alarms("ours", streams)["share"] * streams <= most
    assert false_alarms("ours", streams, OVERLAPPING)["share"] * streams > most
