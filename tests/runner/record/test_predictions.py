import numpy as np

from runner.record.predictions import compute_probabilities


def test_logits_that_are_not_finite_give_nan_without_a_warning() -> None:
    logits = np.array([[np.inf, 0], [np.nan, 1], [0, 0]], np.float32)
    np.testing.assert_array_equal(compute_probabilities(logits), [[np.nan] * 2, [np.nan] * 2, [0.5] * 2])
