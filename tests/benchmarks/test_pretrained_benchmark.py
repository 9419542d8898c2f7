"""The benchmark of pretrained weights runs, and pairs every case."""

import json

from benchmarks.pretrained import main
from tests.replay.small import reading_llama


def test_it_pairs_pretrained_with_random_weights(capsys):
    main(["--quick", "--set", f"backbone.model={reading_llama()}", "--set", "items.text_encoder=hashing"])
    result = json.loads(capsys.readouterr().out)
    cases = {(row["format"], row["weights"], row["windows"]) for row in result["rows"]}
    assert cases == {(form, weights, 128) for form in ("items", "text") for weights in ("pretrained", "random")}
    assert {found["format"] for found in result["differences"]} == {"items", "text"}
    assert all(found["interval"][0] <= found["difference"] <= found["interval"][1] for found in result["differences"])
    assert set(result["windows"]) == {"S_new", "unseen in S"}
