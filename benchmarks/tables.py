"""How well the one-line command predicts tables, beside linear models and gradient boosting of scikit-learn.

    python benchmarks/tables.py [table ...]
    smallest: iris anes96

With statsmodels, whose tables are among the twelve:

    uv run --with statsmodels python benchmarks/tables.py

Each table is written as a CSV file, and `titrate data=csv data.path=FILE data.target=COLUMN` trains on it with what it
infers. The others are fitted on the training and validation rows: logistic regression, or ridge regression for numbers,
on standardized numbers and one-hot categories with gaps filled, and histogram gradient boosting, both with the defaults
of scikit-learn. All are tested on the same rows. Prints, for each table, AUC (the mean over classes against the rest,
if they are more than two), where higher is better, or the root mean squared error, where lower is better, and the
seconds of the command.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import runner

Table = tuple[pd.DataFrame, str, bool]  # the table, its target, and whether the target has classes


def load_scikit_learn(name: str) -> Table:
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame = bunch.frame.copy()
    has_classes = "target_names" in bunch
    if has_classes:
        frame["target"] = np.asarray(bunch.target_names)[frame["target"]]
    return frame, "target", has_classes


def load_housing() -> Table:
    path = Path(os.environ.get("TITRATE_DATA", "."), "california_housing/housing.csv")
    return pd.read_csv(path), "median_house_value", False


def load_statsmodels(name: str, target: str, has_classes: bool, **changes: Any) -> Table:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data
    return frame.assign(**changes), target, has_classes


def make_noise() -> Table:
    """20 columns of signal and 480 of noise."""
    x, y = datasets.make_classification(
        1500, 500, n_informative=20, n_redundant=0, n_classes=2, flip_y=0.05, shuffle=True, random_state=0
    )
    frame = pd.DataFrame(x.round(4), columns=[f"x{number}" for number in range(x.shape[1])])
    return frame.assign(y=np.where(y, "yes", "no")), "y", True


def make_rare() -> Table:
    """A class with 2 % of the rows."""
    x, y = datasets.make_classification(
        6000, 12, n_informative=6, weights=[0.98], flip_y=0.002, class_sep=0.8, random_state=0
    )
    frame = pd.DataFrame(x.round(4), columns=[f"x{number}" for number in range(x.shape[1])])
    return frame.assign(fraud=np.where(y, "yes", "no")), "fraud", True


TABLES: Mapping[str, Callable[[], Table]] = {
    **{name: lambda name=name: load_scikit_learn(name) for name in ("breast_cancer", "wine", "iris", "diabetes")},
    "housing": load_housing,
    "anes96": lambda: load_statsmodels("anes96", "vote", True),
    "fair": lambda: load_statsmodels("fair", "had_affair", True, had_affair=lambda table: table.pop("affairs") > 0),
    "randhie": lambda: load_statsmodels("randhie", "mdvis", False),
    "modechoice": lambda: load_statsmodels("modechoice", "choice", True),
    "star98": lambda: load_statsmodels("star98", "NABOVE", False),
    "noise": make_noise,
    "rare": make_rare,
}


def area_under_curve(target: np.ndarray, probabilities: np.ndarray, classes: np.ndarray) -> float:
    """AUC of the last of two classes, or the mean of the AUC of each class against the rest."""
    from sklearn.metrics import roc_auc_score

    chosen = [1] if len(classes) == 2 else range(len(classes))
    return float(np.mean([roc_auc_score(target == classes[index], probabilities[:, index]) for index in chosen]))


def score_titrate(frame: pd.DataFrame, target: str, folder: Path) -> tuple[float, np.ndarray, float]:
    """Runs the one-line command. Returns the score on the test split, the split's rows and the seconds."""
    path = folder / "table.csv"
    frame.to_csv(path, index=False)
    start = time.perf_counter()
    words = ["data=csv", f"data.path={path}", f"data.target={target}", f"folder={folder}", "tracking=none"]
    with contextlib.redirect_stdout(io.StringIO()):
        result = runner.run(*words, "quiet=true")
    seconds = time.perf_counter() - start
    predictions = runner.load(result.folder).predict("test")
    if predictions.classes is None:
        return float(root_mean_squared_error(predictions.target, predictions.prediction)), predictions.row, seconds
    return (
        area_under_curve(predictions.target, predictions.probabilities, np.asarray(predictions.classes)),
        predictions.row,
        seconds,
    )


def score_others(frame: pd.DataFrame, target: str, has_classes: bool, test: np.ndarray) -> list[float]:
    """The scores of a linear model and of gradient boosting on the test rows."""
    x, y = frame.drop(columns=target), frame[target].to_numpy()
    texts = [name for name in x if not pd.api.types.is_numeric_dtype(x[name])]
    numbers = [name for name in x if name not in texts]
    linear_input = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", min_frequency=2), texts),
    )
    linear = LogisticRegression(max_iter=2000) if has_classes else RidgeCV(np.logspace(-3, 4, 15))
    boosted = HistGradientBoostingClassifier if has_classes else HistGradientBoostingRegressor
    is_test = np.isin(np.arange(len(frame)), test)
    scores = []
    for model, inputs in [
        (make_pipeline(linear_input, linear), x),
        (boosted(random_state=0, categorical_features="from_dtype"), x.astype(dict.fromkeys(texts, "category"))),
    ]:
        model.fit(inputs[~is_test], y[~is_test])
        if has_classes:
            scores.append(area_under_curve(y[is_test], model.predict_proba(inputs[is_test]), model.classes_))
        else:
            scores.append(float(root_mean_squared_error(y[is_test], model.predict(inputs[is_test]))))
    return scores


def main() -> None:
    headings = ("titrate", "linear", "boosting")
    print(
        f"{'table':14} {'rows':>6} {'columns':>7} {'score':>6} {' '.join(f'{name:>9}' for name in headings)}  seconds"
    )
    for name in sys.argv[1:] or TABLES:
        try:
            frame, target, has_classes = TABLES[name]()
        except (ImportError, FileNotFoundError) as error:
            print(f"{name:14} is missing: {error}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            ours, test, seconds = score_titrate(frame, target, Path(folder))
        linear, boosting = score_others(frame, target, has_classes, test)
        score = "AUC" if has_classes else "RMSE"
        figures = " ".join(f"{value:9.5g}" for value in (ours, linear, boosting))
        print(f"{name:14} {len(frame):6,} {frame.shape[1] - 1:7} {score:>6} {figures} {seconds:8.1f}", flush=True)


if __name__ == "__main__":
    main()
