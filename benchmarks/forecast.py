"""How well a CNN forecasts the electric load of the next day, beside forecasts without a network.

    python benchmarks/forecast.py [seeds] [override ...]
    smallest: 0 training.limit_batches=2 training.epochs=1

Trains `experiment=load_forecast` with each of the seeds (0,1,2). The others read the same windows of the same splits:

- the hour a day, or a week, before the one of the forecast;
- ridge regression of scikit-learn on lags, which are the loads of the 168 hours of the window;
- ridge regression on all inputs of the network: loads, temperatures, elapsed time, days off, hours and weekdays;
- the same, with a regression for each hour of the day at which a window ends.

The penalty of ridge regression is the best one on the validation windows. Prints the root mean squared and the mean
absolute error in MW on the validation and the test windows, where lower is better, and the seconds of a run.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
import tempfile
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import Ridge

import runner
from runner.modes.look.view import View

PENALTIES = (10.0, 100.0, 1000.0, 10000.0)
DAY = 24


class Windows(NamedTuple):
    """The windows of a split.

    Attributes:
        inputs: the columns of all inputs of the network, each once, (windows, hours * features).
        past: the loads of the inputs in MW, (windows, hours).
        target: the loads to forecast in MW, (windows, 24).
        hour: the hour of the day at which the inputs end, (windows,).
    """

    inputs: np.ndarray
    past: np.ndarray
    target: np.ndarray
    hour: np.ndarray


def read_windows(model: Any, split: str, limit: int | None) -> Windows:
    view, rows = View(model.data, model.features), np.asarray(model.data.splits[split])[:limit]
    examples = view.examples(rows)
    columns = dict.fromkeys(itertools.chain.from_iterable(model.features.inputs.values()))
    inputs = np.concatenate([np.asarray(examples.columns[name]) for name in columns], axis=-1)
    past = view.decode("target", np.asarray(examples.columns["load"])[..., 0])
    return Windows(inputs.reshape(len(rows), -1), past, view.decode("target", examples.targets["target"]), rows % DAY)


def score(forecast: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    errors = forecast.astype(float) - target
    return float(np.sqrt(np.mean(errors**2))), float(np.abs(errors).mean())


def fit_ridge(train: Windows, others: list[Windows], groups: int) -> list[np.ndarray]:
    """The forecasts of the validation and the test windows, with the penalty that is best on the former.

    Args:
        train: the windows to fit.
        others: the validation and the test windows.
        groups: the number of regressions, each for the hours of the day that have one remainder.
    """
    tried = []
    for penalty in PENALTIES:
        forecasts = [np.zeros_like(windows.target) for windows in others]
        for group in range(groups):
            chosen = train.hour % groups == group
            if not chosen.any():
                continue
            ridge = Ridge(penalty).fit(train.inputs[chosen], train.target[chosen])
            for windows, forecast in zip(others, forecasts, strict=True):
                if (own := windows.hour % groups == group).any():
                    forecast[own] = ridge.predict(windows.inputs[own])
        tried.append((score(forecasts[0], others[0].target), forecasts))
    return min(tried, key=lambda each: each[0])[1]


def train(folder: str, seed: int, overrides: tuple[str, ...]) -> tuple[Any, float]:
    start = time.perf_counter()
    words = ("experiment=load_forecast", f"seed={seed}", f"folder={folder}", "tracking=none", "quiet=true")
    with contextlib.redirect_stdout(io.StringIO()):
        result = runner.run(*words, *overrides)
    return result, time.perf_counter() - start


def main(seeds: str = "0,1,2", *overrides: str) -> None:
    def show(name: str, scores: list[tuple[float, float]], note: str = "") -> None:
        print(f"{name:28} {' '.join(f'{rmse:8.2f} {mae:7.2f}' for rmse, mae in scores)} {note}", flush=True)

    print(f"{'':28} {'valid':>8} {'':7} {'test':>8}\n{'':28} {'rmse':>8} {'mae':>7} {'rmse':>8} {'mae':>7}")
    results = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for seed in map(int, seeds.split(",")):
            result, seconds = train(folder, seed, overrides)
            metrics = result.metrics
            results.append([(metrics[f"{split}/rmse"], metrics[f"{split}/mae"]) for split in ("best/valid", "test")])
            show(f"CNN, seed {seed}", results[-1], f"{seconds:.0f} s")
        model = runner.load(result.folder)
        limit = 300 if any(word.startswith("training.limit_batches") for word in overrides) else None
        splits = [read_windows(model, split, limit) for split in ("train", "valid", "test")]
    show("CNN, mean", np.mean(results, axis=0).tolist())
    for name, hours in {"the day before": DAY, "the week before": 7 * DAY}.items():
        show(name, [score(each.past[:, each.past.shape[1] - hours :][:, :DAY], each.target) for each in splits[1:]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about few rows and many columns
        lags = [each._replace(inputs=each.past) for each in splits]
        cases = {"ridge, lags": (lags, 1), "ridge, all inputs": (splits, 1), "ridge, each hour": (splits, DAY)}
        for name, (windows, groups) in cases.items():
            forecasts = fit_ridge(windows[0], windows[1:], groups)
            show(name, [score(*pair) for pair in zip(forecasts, [each.target for each in splits[1:]], strict=True)])


if __name__ == "__main__":
    main(*sys.argv[1:])
