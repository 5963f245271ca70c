"""The sums of dispatches are added up in 64 bits, and JSON keeps them exactly."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from components.types import Batch, Metric, Output, TargetSpec, UserError
from runner.program.dispatch import steps_per_dispatch
from runner.program.metric_sums import add_sums, compute_metrics, sums_from_json, sums_to_json


def test_sums_are_added_in_64_bits_and_the_last_values_replace_earlier_ones() -> None:
    large = {
        "loss": {"sum": np.float32(1e8), "count": np.int32(2**31 - 1)},
        "last": {"learning_rate": np.float32(0.5)},
    }
    small = {
        "loss": {"sum": np.float32(1), "count": np.int32(1)},
        "last": {"learning_rate": np.float32(0.25)},
    }
    found = add_sums(add_sums({}, [large, small], {}), [small], {})
    assert found["loss"] == {"sum": 1e8 + 2, "count": 2**31 + 1}
    assert found["last"]["learning_rate"] == 0.25
    assert compute_metrics(found, {}, "train", {"target": 1}) == {"train/loss": (1e8 + 2) / (2**31 + 1)}
    assert sums_from_json(json.loads(json.dumps(sums_to_json(found)))) == found


class FailingMetric:
    higher_is_better = True
    collects = False

    def bind(self, target: TargetSpec) -> Metric:
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, Any]:
        return {}

    def result(self, sums: Mapping[str, Any]) -> Any:
        raise UserError("no result")


@pytest.mark.parametrize("name", ["KIND/hits", "weighted/KIND/hits"])
def test_an_error_of_a_metric_names_its_key_in_the_configuration(name: str) -> None:
    loss = {"sum": np.float64(1), "count": np.int64(1)}
    sums = {f"{name.rpartition('/')[0]}/loss": loss, name: {"hits": np.int64(1)}}
    with pytest.raises(UserError, match=r"^metric\.KIND\.hits: no result"):
        compute_metrics(sums, {"KIND/hits": FailingMetric()}, "valid", {"KIND": 1})


def test_sums_that_an_earlier_version_has_not_saved_count_from_now_on() -> None:
    before = {"rmse": {"error": np.float64(2), "examples": np.int64(3)}}
    now = {"rmse": {"error": np.float32(1), "examples": np.int32(1), "large_error": np.float32(4)}}
    found = add_sums(before, [now], {})
    assert {key: float(value) for key, value in found["rmse"].items()} == {
        "error": 3,
        "examples": 4,
        "large_error": 4,
    }


@pytest.mark.parametrize(("labels", "steps"), [(0, 64), (1000, 64), (2**31 // 64, 63), (2**30, 1), (2**33, 1)])
def test_the_labels_of_a_dispatch_are_counted_in_int32(labels: int, steps: int) -> None:
    parameters = {"kernel": np.zeros((2, 2))}
    found = steps_per_dispatch(parameters, ragged=False, counts_pixels=False, labels=labels)
    assert found == steps
    assert found == 1 or found * labels < 2**31


@pytest.mark.parametrize(("gathered", "steps"), [(0, 64), (2**20, 64), (2**20 + 1, 63), (2**25, 2), (2**30, 1)])
def test_the_rows_of_a_dispatch_that_the_host_gathers_are_limited(gathered: int, steps: int) -> None:
    parameters = {"kernel": np.zeros((2, 2))}
    assert steps_per_dispatch(parameters, ragged=False, counts_pixels=False, gathered_bytes=gathered) == steps
