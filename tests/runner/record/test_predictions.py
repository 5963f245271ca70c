import numpy as np
from sklearn.metrics import roc_auc_score

from runner.figures.classification import score_second_class
from runner.record.predictions import RecordedPredictions, compute_probabilities


def test_logits_that_are_not_finite_give_nan_without_a_warning() -> None:
    logits = np.array([[np.inf, 0], [np.nan, 1], [0, 0]], np.float32)
    np.testing.assert_array_equal(compute_probabilities(logits), [[np.nan] * 2, [np.nan] * 2, [0.5] * 2])


def test_the_area_under_the_roc_curve_of_confident_predictions_is_that_of_their_logits() -> None:
    logits = np.linspace(-30, 30, 200, dtype=np.float32)[:, None]
    target = (np.arange(200) % 3 > 0).astype(np.int32)
    rows = np.arange(200)
    predictions = RecordedPredictions.from_logits("test", ("a", "b"), rows, target, logits, np.ones(200, np.float32))
    scores = score_second_class(predictions)
    assert scores is not None
    assert roc_auc_score(target, scores) == roc_auc_score(target, logits[:, 0])
