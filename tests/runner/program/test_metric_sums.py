"""Reports of dispatches are added up in 64 bits, and come back from JSON to the last bit."""

import json

import numpy as np

from runner.program import metric_sums as summing


def test_sums_are_added_in_64_bits_and_the_latest_of_the_rest_stands() -> None:
    report = {
        "loss": {"sum": np.float32(1e8), "count": np.int32(2**31 - 1)},
        "last": {"learning_rate": np.float32(0.5)},
    }
    small = {
        "loss": {"sum": np.float32(1), "count": np.int32(1)},
        "last": {"learning_rate": np.float32(0.25)},
    }
    found = summing.add_sums(summing.add_sums({}, [report, small], {}), [small], {})
    assert found["loss"] == {"sum": 1e8 + 2, "count": 2**31 + 1}
    assert found["last"]["learning_rate"] == 0.25
    assert summing.compute_metrics(found, {}, "train") == {"train/loss": (1e8 + 2) / (2**31 + 1)}
    assert summing.sums_from_json(json.loads(json.dumps(summing.sums_to_json(found)))) == found
