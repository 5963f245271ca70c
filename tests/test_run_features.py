"""`data=features`: a network learns from what a stage of a finished run computes, once, for each row."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import runner
from components.data import Arrays
from components.types import UserError
from runner.__main__ import main
from runner.config.compose import configure
from runner.data.load import Data
from runner.display.progress import QuietProgress
from runner.execution import run_features
from runner.execution.execute import Result
from runner.execution.finished_run import FinishedRun
from runner.execution.run_data import load_data
from runner.inference.predictions import Predictions
from runner.inference.trained_model import TrainedModel

QUIET = ("tracking=none", "quiet=true", "training.epochs=1", "optimizer=sgd")
BODY = (
    "experiment=digits_mlp",
    "metric=[accuracy]",
    "architecture.widths=[8,6]",
    "architecture.batch_norm=true",
    *QUIET,
)


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with dropout and batch normalization."""
    return runner.run(*BODY, "architecture.dropout=0.5", f"folder={tmp_path_factory.mktemp('body')}").folder


@pytest.fixture(autouse=True)
def _in_folder(in_empty_folder: Path) -> None:
    pass


def words_for(run: Path, *words: str) -> tuple[str, ...]:
    return ("data=features", f"data.run={run}", "feature=features", "architecture.widths=[]", *QUIET, *words)


def train_head(run: Path, *words: str) -> Result:
    return runner.run(*words_for(run, *words))


def load(run: Path, *words: str) -> Data:
    return load_data(configure(words_for(run, *words)), None, QuietProgress())[0]


def log_probabilities(result: Result | Path) -> np.ndarray:
    return predict_log_probabilities(runner.load(result if isinstance(result, Path) else result.folder), "valid")


def predict_log_probabilities(model: TrainedModel, rows: Any) -> np.ndarray:
    predictions = model.predict(rows)
    assert isinstance(predictions, Predictions)
    assert predictions.probabilities is not None
    return np.log(np.asarray(predictions.probabilities))


def compute_stage(run: Path, name: str) -> np.ndarray:
    """What the forward pass of an evaluation computes for the rows of a run's data."""
    model = runner.load(run)
    finished: FinishedRun = model.run
    variables = {"params": model.weights.parameters, **model.weights.model_state}
    parts, rows = finished.program.build_parts(finished.program_inputs), model.data.encoded
    encoded = jax.tree.map(np.asarray, dict(rows))
    _, output, _ = finished.program.forward(parts, finished.program_inputs, variables, encoded, step=None)
    return np.asarray(output.features[name])


@pytest.mark.parametrize("stage", ["dense_0", "dense_1"])
def test_the_features_are_those_of_a_forward_pass_in_an_evaluation(body: Path, stage: str) -> None:
    data = load(body, f"data.stage={stage}")
    np.testing.assert_allclose(data.encoded["features"]["values"], compute_stage(body, stage), rtol=1e-5, atol=1e-5)
    assert data.encoded["features"]["values"].shape[1:] == {"dense_0": (8,), "dense_1": (6,)}[stage]


def test_the_head_of_the_run_gives_its_logits_on_the_features(body: Path) -> None:
    skipped = "weights.skip=['dense_*','batch_norm_*']"
    head = train_head(body, "weights=run", f"weights.run={body}", skipped, "learning_rate=0")
    np.testing.assert_allclose(log_probabilities(head), log_probabilities(body), rtol=1e-5, atol=1e-5)
    evaluated = runner.load(body).evaluate("test")
    assert {name: head.metrics[name] for name in evaluated} == pytest.approx(evaluated, rel=1e-5)


def test_the_rows_and_the_splits_are_those_of_the_run(body: Path) -> None:
    own, features = runner.load(body).data, load(body)
    assert {name: list(rows) for name, rows in features.splits.items()} == {
        name: list(rows) for name, rows in own.splits.items()
    }
    np.testing.assert_array_equal(features.encoded["target"]["ids"], own.encoded["target"]["ids"])


def test_the_features_are_computed_once(body: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(tmp_path / "cache"))
    computed, compute = list[str](), run_features.StageOutputs.batches

    def batches(self: Any, pieces: Any) -> Any:
        computed.append(self.stage)
        return compute(self, pieces)

    monkeypatch.setattr(run_features.StageOutputs, "batches", batches)
    first, second, other = load(body), load(body), load(body, "data.stage=dense_0")
    assert computed == ["dense_1", "dense_0"]
    np.testing.assert_array_equal(first.encoded["features"]["values"], second.encoded["features"]["values"])
    assert first.fingerprint == second.fingerprint != other.fingerprint


def test_other_weights_have_another_fingerprint(body: Path) -> None:
    other = runner.run(*BODY, "seed=1").folder
    loaded = [load(body), load(other)]
    assert len({data.fingerprint for data in loaded}) == len({data.encoding_id for data in loaded}) == 2


def test_other_rows_have_the_features_of_the_run_and_classes_of_their_own(body: Path) -> None:
    rows = "data.rows={option: digits, classes: [5, 6, 7], per_class: 10}"
    data, own = load(body, rows), compute_stage(body, "dense_1")
    assert len(data.splits["train"]) == 30
    assert list(data.constants["target"].static["classes"]) == ["5", "6", "7"]
    values, numbers = np.asarray(data.encoded["features"]["values"]), data.number_rows("train")
    np.testing.assert_allclose(values[np.asarray(data.splits["train"])], own[numbers], rtol=1e-5, atol=1e-5)
    filtered = load(body, "operations=[{option: filter, where: 'label < 3'}]")
    assert list(filtered.constants["target"].static["classes"]) == ["0", "1", "2"]
    np.testing.assert_allclose(
        np.asarray(filtered.encoded["features"]["values"])[np.asarray(filtered.splits["test"])],
        own[filtered.number_rows("test")],
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_finished_head_is_evaluated_and_its_run_resumed(body: Path) -> None:
    head = train_head(body)
    assert runner.load(head.folder).evaluate("test") == {
        name: value for name, value in head.metrics.items() if name.startswith("test/")
    }
    longer = runner.run(f"resume={head.folder}", "training.epochs=2", "quiet=true")
    assert longer.folder == head.folder
    assert [record["epoch"] for record in longer.records] == [1, 2]


def test_maps_keep_their_shape_and_the_last_stage_is_that_before_the_head() -> None:
    run = runner.run("experiment=digits_lenet5", "training.limit_batches=1", *QUIET).folder
    assert load(run, "data.stage=s2").encoded["features"]["values"].shape == (1797, 14, 14, 6)
    assert load(run).encoded["features"]["values"].shape == (1797, 84)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["data.stage=dense_2"],
            "data.stage: the network has no stage dense_2. Did you mean dense_1? Stages: dense_0, dense_1.",
        ),
        (["folds=3"], "folds: 3 is not possible with data=features: its rows keep the splits"),
        (["data.run=last"], "data.run: last is another run after each command. Name the run"),
        (["data.run=outputs/none"], "data.run: outputs/none: there is no such run"),
        (["data.rows={option: breast_cancer}"], "there is no column `image`"),
        (["folds=3", "fold=0"], "folds: 3 is not possible with data=features: its rows keep the splits"),
    ],
)
def test_what_is_wrong_is_an_error(body: Path, words: list[str], message: str) -> None:
    with pytest.raises(UserError) as raised:
        train_head(body, *words)
    assert message in str(raised.value)


def test_a_warning_counts_the_held_out_rows_that_the_run_was_trained_on(
    body: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(QuietProgress, "note", lambda self, text: notes.append(text))
    own, other = runner.load(body).data.number_rows("train"), load(body, "data.rows={option: digits, seed: 4}")
    count, total = len({*own} & {*other.number_rows("test")}), len(other.splits["test"])
    assert count
    (warning,) = (note for note in notes if "was trained on" in note)
    assert f" and {count} of the {total} rows of the test split, so these can't show" in warning
    load(body, "data.rows={option: digits}")
    assert sum("was trained on" in note for note in notes) == 1


def test_a_run_on_data_from_python_needs_rows() -> None:
    columns = {"image": np.zeros((60, 8, 8, 1), np.uint8), "label": np.arange(60) % 2}
    run = runner.run(*BODY, "training.batch_size=10", source=Arrays(columns=columns, valid=20, test=20)).folder
    with pytest.raises(UserError, match=r"data\.run: its data came from Python\. Name a source of rows"):
        load(run)
    assert len(load(run, "data.rows={option: digits}").splits["train"]) > 1000


def test_a_run_whose_data_has_changed_is_an_error(body: Path) -> None:
    changed = Path(shutil.copytree(body, "outputs/changed"))
    record = json.loads((changed / "record.json").read_text())
    record["datasets"][0]["digest"] = "0" * 32
    (changed / "record.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"data\.run: its data, or how it is split, has changed"):
        load(changed)
    assert load(changed, "data.rows={option: digits}").fingerprint == load(body).fingerprint


def test_a_head_predicts_new_rows_with_the_features_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{n % 7},{n % 5 - 2},{'ab'[n % 2]}\n" for n in range(60)]
    (tmp_path / "rows.csv").write_text("x,y,label\n" + "".join(lines))
    Path("new.csv").write_text("x,y,label\n6,2,a\n0,-1,b\n3,1,b\n")
    table = ("data=csv", f"data.path={tmp_path / 'rows.csv'}", "data.target=label", "architecture=mlp")
    body = runner.run(*table, "architecture.widths=[4]", "training.batch_size=8", *QUIET).folder
    head = train_head(body, "training.batch_size=8").folder

    model, rows = runner.load(head), {"x": [6, 0, 3], "y": [2, -1, 1], "label": ["a", "b", "b"]}
    of_body = runner.load(body)
    encoded = of_body.transform(rows)
    [values] = run_features.StageOutputs(of_body.run, encoded, None).batches([encoded])
    predicted, expected = (predict_log_probabilities(model, each) for each in (rows, {"features": values}))
    np.testing.assert_array_equal(predicted, expected)
    assert len(np.unique(expected[:, 0])) == 3
    assert set(model.evaluate(rows)) == {"new/loss", "new/accuracy"}

    new = [f"run={head}", "data.path=new.csv"]
    assert main(["mode=predict", *new, "output=predictions.csv"]) == 0, capsys.readouterr().err
    written = Path("predictions.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in written[1:]] == [["0", '"a"'], ["1", '"b"'], ["2", '"b"']]
    assert main(["mode=evaluate", *new]) == 0, capsys.readouterr().err
    assert main(["mode=predict", f"run={head}", "data.rows={option: csv, path: new.csv}"]) == 2
    assert "Name the file of new rows by data.path=" in capsys.readouterr().err
    model.run.transform = replace(model.transform, network="of other weights")
    with pytest.raises(UserError, match=rf"data\.run: the weights of {body.name} have changed since {head.name}"):
        model.predict(rows)
    body.rename(body.with_name("moved"))
    assert main(["mode=predict", *new, "output=other.csv"]) == 2
    assert f"{body.name}: there is no such run" in capsys.readouterr().err


def test_a_run_of_a_head_only_has_no_features() -> None:
    run = runner.run("experiment=digits_mlp", "architecture.widths=[]", "training.limit_batches=1", *QUIET).folder
    with pytest.raises(UserError, match=rf"data\.run: the network of {run.name} has no features"):
        load(run)
