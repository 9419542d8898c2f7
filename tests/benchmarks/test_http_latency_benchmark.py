"""The benchmark of the server's latency says by how much it is faster than without what makes it fast."""

from benchmarks.http_latency import summary


def test_rounds_are_summed_up_by_their_median():
    def one(factor):
        names = ("alone_ours", "alone_plain_socket", "beside_ours", "beside_no_limit")
        return {name: {"p50": factor * n, "p99": 2 * factor * n} for n, name in enumerate(names, 1)}

    found = summary([one(0.001), one(0.002), one(0.1)])
    assert found["milliseconds"]["alone_ours"] == {"p50": 2.0, "p99": 4.0}
    assert found["ratios"] == {"alone_p50": 0.5, "beside_p99": 0.75, "beside_to_alone_p99": 3.0}
