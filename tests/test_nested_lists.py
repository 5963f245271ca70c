"""Sessions of baskets: lists of lists of one table in several formats give the same run, and predict new rows."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from examples import entry, example, integers, sequence, strings
from pyarrow import parquet

import runner
from components.data.tfrecord.framing import write_records
from components.types import DataError, UserError
from runner import memory
from runner.__main__ import main
from runner.errors import RunError
from runner.inference.predictions import Predictions

FEATURE = """
# The items of each basket of a session, and their prices.
target: {_target_: components.feature.Label, key: bought}
columns:
  item: {_target_: components.feature.Vocabulary, key: baskets, oov: 1}
  basket: {_target_: components.feature.Embedding, key: item, dimension: 2}
  contents: {_target_: components.feature.Indicator, key: item, mode: multi_hot}
inputs: {session: [basket, contents]}
"""
ARCHITECTURE = """
# The mean over the baskets, and a small network.
_target_: components.architecture.Sequential
layers: [{_target_: components.layer.GlobalAveragePool}, {_target_: components.layer.Dense, features: 4}]
"""
RUN = ("data=table", "data.stratify=bought", "feature=sessions", "architecture=sessions", "loss=softmax_cross_entropy")
QUICK = ("training.epochs=1", "training.batch_size=11", "tracking=none", "quiet=true", "intervals=null")


def make_rows() -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    rows = []
    for number in range(30):
        baskets = [[f"i{item}" for item in random.integers(0, 5, size)] for size in random.integers(0, 4, number % 4)]
        rows.append({"baskets": baskets, "bought": number % 2})
    return rows


def write_options(folder: Path) -> None:
    for group, text in (("feature", FEATURE), ("architecture", ARCHITECTURE)):
        file = folder / "conf" / group / "sessions.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text.lstrip())


def write_files(rows: list[dict[str, Any]]) -> None:
    Path("t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    parquet.write_table(pyarrow.Table.from_pylist(rows), "t.parquet")
    records = io.BytesIO()
    for row in rows:
        baskets = [strings(*(item.encode() for item in basket)) for basket in row["baskets"]]
        write_records(records, [sequence(example(entry(b"bought", integers(row["bought"]))), baskets=baskets)])
    Path("t.tfrecord").write_bytes(records.getvalue())


def read_parameters(folder: str) -> dict[str, bytes]:
    with zipfile.ZipFile(max(Path(folder, "checkpoints").iterdir())) as archive:
        return {name: archive.read(name) for name in archive.namelist() if "parameters" in name}


@pytest.mark.slow
@pytest.mark.optax
def test_lists_of_lists_of_every_format_give_the_same_parameters(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_options(in_empty_folder)
    rows = make_rows()
    write_files(rows)
    found = {}
    for name in ("t.jsonl", "t.parquet", "t.tfrecord"):
        result = runner.run(*RUN, *QUICK, f"data.path={name}", f"folder={name}_run")
        found[name] = read_parameters(result.folder)
    assert found["t.jsonl"]
    assert found["t.jsonl"] == found["t.parquet"] == found["t.tfrecord"]
    model = runner.load(result.folder)
    rows = [{**row, "baskets": [["i0", "i1"], ["i2", "i3"]]} for row in rows[:1]] + rows
    expected = {}
    for name, new in (("python", rows), ("one", rows[:1]), ("arrow", pyarrow.Table.from_pylist(rows))):
        columns = {"baskets": [row["baskets"] for row in new]} if isinstance(new, list) else new
        predicted = model.predict(columns)
        assert isinstance(predicted, Predictions)
        expected[name] = predicted.probabilities
    np.testing.assert_array_equal(expected["python"], expected["arrow"])
    np.testing.assert_allclose(expected["python"][:1], expected["one"], rtol=1e-6)
    for empty in ([], [[]]):  # without a basket, and with an empty one: of both, the mean is zero
        model.predict({"baskets": [empty]})
    evaluated = [model.evaluate({"baskets": [empty], "bought": [1]}) for empty in ([], [[]])]
    assert evaluated[0] == evaluated[1]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(memory, "measure_free_host_memory", lambda: memory.FreeMemory(10**6, "in this test"))
        with pytest.raises(RunError, match=r"for predicting: .*\nAll .*, and `basket` has up to 900 lists in a row"):
            model.predict({"baskets": [[["i0"]] * 900, [["i1"] * 900]]})
    other_depth = {"baskets": [["i0"]], "bought": [1]}
    for call in (model.predict, model.evaluate):
        with pytest.raises(
            UserError,
            match=r"basket: new rows are encoded as lists of whole numbers, but .* as lists of lists of whole",
        ):
            call(other_depth)
    with pytest.raises(DataError, match="column `baskets` has missing values within its lists"):
        model.predict({"baskets": [[["i1", None]]]})
    Path("gap.jsonl").write_text('{"baskets": [["i1"]]}\n{"baskets": [["i1"], ["i1", null]]}\n')
    assert main(["mode=predict", f"run={result.folder}", "data.path=gap.jsonl", "output=gap.csv"]) == 2
    assert "gap.jsonl, line 2: column `baskets` has missing values within its lists" in capsys.readouterr().err
    command = ["mode=predict", f"run={result.folder}", "data.path=t.jsonl", "output=out.csv"]
    assert main([*command, "output.columns=[bought]"]) == 0
    assert main([*command, "output.columns=[baskets]"]) == 2
    assert "each value of `baskets` is an array, which a table can't hold. Leave it out" in capsys.readouterr().err


@pytest.mark.optax
@pytest.mark.parametrize(
    ("free", "evaluation_batch_size", "activity"),
    [(100_000, 4, "a batch of train"), (500_000, 4, "training"), (4_100_000, 40, "evaluating valid")],
)
def test_a_batch_of_the_longest_lists_that_does_not_fit_is_an_error_before_training(
    free: int,
    evaluation_batch_size: int,
    activity: str,
    in_empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first batches have short lists. A later one may have a row with many lists, and one with a long list."""
    write_options(in_empty_folder)
    rows = make_rows() * 20 + [{"baskets": [["i0"]] * 90, "bought": 0}, {"baskets": [["i1"] * 90], "bought": 1}] * 20
    monkeypatch.setattr(memory, "measure_free_host_memory", lambda: memory.FreeMemory(free, "in this test"))
    sizes = {"training.batch_size": 2, "training.evaluation_batch_size": evaluation_batch_size}
    data = {name: [row[name] for row in rows] for name in ("baskets", "bought")}
    message = (
        f"too little memory for {activity}: .*_size=.* in this test\\.\nAll lists of a batch are padded to its longest "
        r"ones, and `basket` has up to 90 lists in a row \(99 %: \d+\) and up to 90 values in a list \(99 %: \d+\)\."
        "\nCut them by components.feature.Truncated with max_length=\\[\\d+,\\d+\\], .*\\.\n.*batch.size.* would fit"
    )
    with pytest.raises(RunError, match=message):
        runner.run(*RUN[2:], *QUICK, sizes, data=data)
    assert not Path("outputs").exists()
