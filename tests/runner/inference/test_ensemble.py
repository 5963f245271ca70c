"""Ensembles: the mean of the outputs of several runs, its spread, and the runs that are no ensemble."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats

import runner
from components.types import UserError
from runner.__main__ import main
from runner.ensemble_members import find_members
from runner.inference.ensemble import Ensemble
from runner.inference.predictions import Predictions
from runner.inference.trained_model import TrainedModel

pytestmark = pytest.mark.optax

ROWS = 60
RANDOM = np.random.default_rng(0)
COLUMNS: dict[str, Any] = {
    "x": RANDOM.normal(5, 3, ROWS),
    "z": RANDOM.normal(size=ROWS),
    "kind": np.array(["cat", "dog", "eel"])[np.arange(ROWS) % 3],
    "tags": np.array(["new", "new old", "old", "old far"])[np.arange(ROWS) % 4],
    "price": np.exp(RANDOM.normal(3, 1, size=ROWS)),
}
NEW = {name: COLUMNS[name][:9] for name in "xz"}
QUICK = ("training.epochs=1", "training.batch_size=24", "tracking=none", "quiet=true", "intervals=null")
NUMBER = "{_target_: components.feature.Numeric, key: %s}"
TARGETS = {
    "kind": "{_target_: components.feature.Label, key: kind}",
    "turned": "{_target_: components.feature.Label, key: kind, names: [eel, cat, dog]}",
    "tags": "{_target_: components.feature.Labels, key: tags, separator: ' '}",
    "price": "{_target_: components.feature.Numeric, key: price, normalize: [log, z_score]}",
    "cost": "{_target_: components.feature.Numeric, key: z}",
}
LOSSES = {"tags": "binary_cross_entropy", "price": "mse", "cost": "mse"}
METRICS = {"price": "rmse", "cost": "rmse"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and feature files: each target with `x` and `z` as inputs, and once with `x` alone."""
    folder = tmp_path_factory.mktemp("project")
    lines = [",".join(COLUMNS), *(",".join(map(str, row)) for row in zip(*COLUMNS.values(), strict=True))]
    (folder / "table.csv").write_text("\n".join(lines))
    (folder / "other.csv").write_text("\n".join([lines[0], *lines[:0:-1]]))
    (folder / "conf/feature").mkdir(parents=True)
    for target, part in TARGETS.items():
        for name, keys in ((target, "x" if target == "cost" else "xz"), (f"{target}_by_x", "x")):
            columns = "".join(f"  {key}: {NUMBER % key}\n" for key in keys)
            text = f"# A table.\ncolumns:\n{columns}inputs: {{x: [{', '.join(keys)}]}}\ntarget: {part}\n"
            (folder / f"conf/feature/own_{name}.yaml").write_text(text)
    return folder


Train = Callable[..., Path]


@pytest.fixture(scope="module")
def trained() -> dict[tuple[str, ...], Path]:
    """The folders of the runs that this module has trained, by their words."""
    return {}


@pytest.fixture
def train(project: Path, trained: dict[tuple[str, ...], Path], monkeypatch: pytest.MonkeyPatch) -> Train:
    """Trains a run on the table, once."""
    monkeypatch.chdir(project)

    def run(name: str, *words: str, is_sweep: bool = False) -> Path:
        target = name.removesuffix("_by_x")
        key = (name, *words, str(is_sweep))
        if key not in trained:
            chosen = (
                *("data=csv", "data.path=table.csv", "data.test=12", "data.valid=12", f"feature=own_{name}"),
                *("architecture=mlp", "architecture.widths=[8]", "architecture.dropout=0.4", "optimizer=sgd"),
                *(f"loss={LOSSES.get(target, 'softmax_cross_entropy')}", f"metric=[{METRICS.get(target, 'accuracy')}]"),
            )
            start = runner.multirun if is_sweep else runner.run
            trained[key] = start(*chosen, *QUICK, *words).folder.absolute()
        return trained[key]

    return run


def predict(model: TrainedModel, rows: Any, **arguments: Any) -> Predictions:
    predictions = model.predict(rows, **arguments)
    assert isinstance(predictions, Predictions)
    return predictions


def check_mean(model: TrainedModel, members: list[TrainedModel], rows: Any, **arguments: Any) -> None:
    """Compares the predictions of an ensemble for classes with those of its members."""
    own, each = predict(model, rows, **arguments), [predict(member, rows, **arguments) for member in members]
    probabilities = np.stack([one.probabilities for one in each]).astype(np.float64)
    np.testing.assert_allclose(own.probabilities, probabilities.mean(0), rtol=1e-5)
    # Samples of a run have a variance of their own, and an entropy that is less than that of their mean.
    within = [np.square(one.spread.get("std", 0.0)) for one in each]
    std = np.sqrt(np.mean(within, axis=0) + probabilities.var(0))
    np.testing.assert_allclose(own.spread["std"], std, rtol=1e-3, atol=1e-6)
    entropy = scipy.stats.entropy(probabilities.mean(0), axis=-1)
    np.testing.assert_allclose(own.spread["entropy"], entropy, rtol=1e-4, atol=1e-6)
    information = [one.spread.get("mutual_information", np.zeros(len(one.row))) for one in each]
    rest = np.mean(scipy.stats.entropy(probabilities, axis=-1) - information, axis=0)
    np.testing.assert_allclose(own.spread["mutual_information"], entropy - rest, rtol=1e-3, atol=2e-6)


def test_the_mean_of_runs_with_other_columns_and_networks(train: Train) -> None:
    folders = [train("kind"), train("kind", "seed=1"), train("kind_by_x", "architecture.widths=[4,4]")]
    model, members = runner.load(folders), [runner.load(folder) for folder in folders]
    assert isinstance(model, Ensemble)
    check_mean(model, members, "test")
    check_mean(model, members, "test", mc_samples=5)
    check_mean(model, members, NEW)
    evaluation = model.evaluate_once("test", mc_samples=5)
    assert evaluation.members == [pytest.approx(member.evaluate("test"), rel=1e-5) for member in members]
    own = predict(model, "test")
    assert own.classes is not None
    assert own.target is not None
    index = [own.classes.index(value) for value in own.target.tolist()]
    chosen = np.asarray(own.probabilities)[np.arange(len(index)), index]
    assert evaluation.metrics["test/loss"] == pytest.approx(-np.log(chosen).mean(), rel=1e-5)
    assert evaluation.metrics["test/accuracy"] == pytest.approx(np.mean(own.prediction == own.target))
    assert evaluation.sampled == pytest.approx(model.evaluate("test", mc_samples=5))
    assert evaluation.sampled["test/loss"] != evaluation.metrics["test/loss"]
    rows = {**NEW, "kind": COLUMNS["kind"][:9]}
    probabilities = np.asarray(predict(model, NEW).probabilities)
    correct = probabilities[np.arange(9), np.arange(9) % 3]
    assert model.evaluate(rows)["new/loss"] == pytest.approx(-np.log(correct).mean(), rel=1e-5)


def test_runs_that_share_a_program_share_its_data(train: Train) -> None:
    model = runner.load([train("kind"), train("kind", "seed=1")])
    assert isinstance(model, Ensemble)
    model.predict("test")
    assert model.others[0].data is model.data
    assert "evaluator" not in vars(model.others[0])


def test_the_order_of_classes_may_differ(train: Train) -> None:
    folders = [train("kind"), train("turned")]
    members = [runner.load(folder) for folder in folders]
    model, order = runner.load(folders), [1, 2, 0]  # cat, dog and eel among eel, cat and dog
    expected = [members[0].predict("test").probabilities, members[1].predict("test").probabilities[:, order]]
    np.testing.assert_allclose(model.predict("test").probabilities, np.mean(expected, axis=0), rtol=1e-5)
    assert model.evaluate_once("test").members[1] == pytest.approx(members[1].evaluate("test"), rel=1e-5)


@pytest.mark.slow
def test_the_mean_of_labels(train: Train) -> None:
    folders = [train("tags"), train("tags", "seed=1")]
    model, members = runner.load(folders), [runner.load(folder) for folder in folders]
    each = np.stack([predict(member, NEW).probabilities for member in members])
    np.testing.assert_allclose(predict(model, NEW).probabilities, each.mean(0), rtol=1e-5)
    np.testing.assert_allclose(predict(model, NEW).spread["std"], each.std(0), rtol=1e-3, atol=1e-6)


def test_the_mean_of_numbers_that_are_normalized_in_different_ways(train: Train) -> None:
    folders = [train("price"), train("price", "data.seed=7")]
    model, members = runner.load(folders), [runner.load(folder) for folder in folders]
    each = np.stack([predict(member, NEW).prediction for member in members])
    own = predict(model, NEW)
    # The loss, and so the mean, is that of logarithms.
    np.testing.assert_allclose(own.prediction, np.exp(np.log(each).mean(0)), rtol=1e-5)
    np.testing.assert_allclose(own.spread["std"], each.std(0), rtol=1e-3)
    rows = {**NEW, "price": COLUMNS["price"][:9]}
    error = np.sqrt(np.mean((own.prediction - rows["price"]) ** 2))
    assert model.evaluate(rows)["new/rmse"] == pytest.approx(error, rel=1e-5)
    with pytest.raises(UserError, match=r"was trained on \d+ of the 12 rows of the test split of .*data\.path=FILE"):
        model.evaluate("test")


def test_runs_of_folds_have_the_test_split_in_common(train: Train) -> None:
    folders = [train("kind", "folds=3", f"fold={fold}") for fold in (0, 1)]
    model, members = runner.load(folders), [runner.load(folder) for folder in folders]
    check_mean(model, members, "test")
    with pytest.raises(UserError, match=r"was trained on 16 of the 16 rows of the valid split .* Runs of other folds"):
        model.evaluate("valid")


@pytest.mark.slow
def test_a_run_on_other_rows_has_no_split_in_common(train: Train) -> None:
    model = runner.load([train("kind"), train("kind", "data.path=other.csv")])
    with pytest.raises(UserError, match=r"was trained on other data than .* \(data\.path\), so it has no test split"):
        model.evaluate("test")
    assert len(predict(model, NEW).row) == 9


def test_a_table_shows_what_an_ensemble_brings(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = train("kind", "seed=0,1,2", is_sweep=True)
    assert main(["mode=evaluate", f"run={sweep}", "tracking=none", "intervals=null"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:17].strip(): line.split()[-3:] for line in lines if line.startswith(("test", "  "))}
    members = [runner.load(folder).evaluate("test") for folder in find_members(sweep.parent, sweep).folders]
    losses = [metrics["test/loss"] for metrics in members]
    assert float(rows["mean of 3 runs"][0]) == pytest.approx(np.mean(losses), rel=1e-4)
    assert float(rows["best run"][0]) == pytest.approx(min(losses), rel=1e-4)
    assert float(rows["test"][0]) == pytest.approx(runner.load(sweep).evaluate("test")["test/loss"], rel=1e-4)
    words = ["mode=predict", f"run={sweep}", "ensemble=2", "data.path=table.csv", "output=own.json", "quiet=true"]
    assert main([*words, "output.overwrite=true", "tracking=none"]) == 0
    written = json.loads(Path("own.json").read_text())
    assert len(written) == ROWS
    assert {"prediction", "probability_cat", "std_cat", "entropy", "mutual_information"} <= written[0].keys()
    best = predict(runner.load(sweep, ensemble=2), {name: COLUMNS[name] for name in "xz"})
    expected = np.asarray(best.probabilities)[:, 0]
    np.testing.assert_allclose([row["probability_cat"] for row in written], expected, rtol=1e-4)


@pytest.mark.slow
def test_new_rows_of_a_file_have_the_columns_of_each_run(train: Train) -> None:
    folders = [train("kind_by_x", "architecture.widths=[4,4]"), train("kind")]
    words = ["mode=predict", f"run=[{folders[0]},{folders[1]}]", "data.path=table.csv", "output=all.json"]
    assert main([*words, "output.overwrite=true", "quiet=true", "tracking=none"]) == 0
    expected = predict(runner.load(folders), {name: COLUMNS[name] for name in "xz"}).probabilities
    written = [row["probability_eel"] for row in json.loads(Path("all.json").read_text())]
    np.testing.assert_allclose(written, np.asarray(expected)[:, 2], rtol=1e-4)


def test_the_best_runs_of_a_sweep_are_those_of_its_ranking(train: Train) -> None:
    sweep = train("kind", "seed=0,1,2", is_sweep=True)
    folders = find_members(sweep.parent, sweep.name, 2).folders
    losses = {path: json.loads((path / "summary.json").read_text())["metrics"]["best/valid/loss"] for path in folders}
    every = find_members(sweep.parent, sweep.name).folders
    all_losses = [json.loads((path / "summary.json").read_text())["metrics"]["best/valid/loss"] for path in every]
    assert [*losses.values()] == sorted(all_losses)[:2]
    with pytest.raises(UserError, match=r"ensemble=4: .* has 3 runs that have finished"):
        find_members(sweep.parent, sweep.name, 4)


@pytest.mark.parametrize(
    ("names", "best", "message"),
    [
        (["a", "a"], None, "a is listed twice. Each run of an ensemble counts once"),
        (["a"], None, r"run=\[a\]: an ensemble has two or more runs. Write run=a for this run alone"),
        ([], None, r"run=\[\]: an ensemble has two or more runs. List some"),
        (["a", "bad"], None, "run=bad: this run diverged, so it has nothing to add"),
        (["a", "sweep"], None, "run=sweep is a sweep. Name one of its runs"),
        (["a", "b"], 2, "ensemble=2 is for the runs of a sweep, and run lists its runs"),
        ("a", 2, "ensemble=2 is for the runs of a sweep, and run=a is a single run"),
        (
            "sweep",
            None,
            "is a sweep of which 1 of 2 runs have finished.* Name the run: run=.*sweep/1",
        ),
        ("empty", None, "run=empty is a sweep of which no runs have finished.* Run the sweep to its end"),
        ("mixed", 2, "can't be compared: runs on different data are not ranked. List the runs"),
        ("undefined", 2, r"can't be compared: 2 has no best/valid/loss"),
    ],
)
def test_runs_that_are_no_ensemble(names: Any, best: int | None, message: str, tmp_path: Path) -> None:
    def write(name: str, status: str, kind: str = "run", **summary: Any) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(json.dumps({"kind": kind, "created": 0}))
        (tmp_path / name / "summary.json").write_text(json.dumps({"status": status, **summary}))

    for name in ("a", "b"):
        write(name, "finished")
    write("bad", "diverged")
    for sweep, statuses in {
        "empty": [],
        "sweep": ["finished", "diverged"],
        "mixed": ["finished"] * 2,
        "undefined": ["finished"] * 2,
    }.items():
        write(sweep, "finished", "sweep")
        for number, status in enumerate(statuses, 1):
            loss = {} if number == 2 else {"best/valid/loss": 1.0}
            write(f"{sweep}/{number}", status, monitor="valid/loss", metrics=loss)
    (tmp_path / "mixed/sweep.json").write_text('{"incomparable": "runs on different data are not ranked"}')
    with pytest.raises(UserError, match=message):
        find_members(tmp_path, names, best)


def test_runs_that_predict_something_else(train: Train, project: Path) -> None:
    first = train("kind")
    with pytest.raises(UserError, match=r"predicts `price`, and run=.* predicts `kind`. The runs of an ensemble"):
        runner.load([first, train("price")])
    lines = (project / "table.csv").read_text().replace("eel", "elk")
    (project / "elks.csv").write_text(lines)
    with pytest.raises(UserError, match=r"`kind` has other classes \(missing: eel; unexpected: elk\) than in run="):
        runner.load([first, train("kind", "data.path=elks.csv")])


def test_a_run_that_predicts_nan_is_named(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    model = runner.load([train("kind"), train("kind", "seed=1")])
    assert isinstance(model, Ensemble)
    weights = model.others[0].weights
    bad = weights._replace(parameters=jax.tree.map(lambda leaf: leaf * np.nan, weights.parameters))
    monkeypatch.setattr(model.others[0], "weights", bad)
    for run in (partial(model.predict, NEW), partial(model.evaluate, "test")):
        with pytest.raises(UserError, match=f"run={model.folders[1].name}: the network predicts NaN"):
            run()


def test_a_list_of_runs_is_for_predictions_and_evaluations(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mode=look", f"run=[{train('kind')},{train('kind', 'seed=1')}]"]) == 2
    assert "run: mode=look shows a single run. Name one of them." in capsys.readouterr().err
    assert main(["experiment=digits_mlp", "ensemble=3"]) == 2
    assert "ensemble: is allowed for mode=evaluate and mode=predict only" in capsys.readouterr().err
