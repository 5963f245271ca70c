"""Rows that can't be read and are skipped: the encoded data, the cache, the record, and new rows."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import runner
from components.data import Csv, ImageFolders
from components.feature import Image, Label, Numeric, Vocabulary
from components.types import DataError, Source
from runner.__main__ import main
from runner.data.load import Data, Features, load_encoded
from runner.run_folder import read_record
from runner.tracking.names import name_final_metric

LINE = ("data=csv", "data.path=mixed.csv", "data.target=y")
QUICK = ("training.epochs=1", "training.batch_size=8", "architecture.widths=[4]", "tracking=none", "quiet=true")
SKIP = "data.on_bad_row=skip"
ROWS = [f"{n * 37 % 101 + 0.5},{'ab'[n % 2]},{n % 4 + 0.25}" for n in range(60)]
BAD_ROWS = {3: "1o.5,a,1.5", 17: "5.5,a", 40: "2.5,b,x"}
MESSAGES = (
    "mixed.csv, line 5: column `x` is '1o.5', not a number; mixed.csv, line 19: the number of fields is 2, not 3; "
    "mixed.csv, line 42: column `y` is 'x', not a number"
)
SENTENCE = f"3 of 63 rows are skipped: {MESSAGES}"


@pytest.fixture(autouse=True)
def files(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(in_empty_folder / "cache"))
    mixed = [*ROWS]
    for number, row in BAD_ROWS.items():
        mixed.insert(number, row)
    for name, rows in {"mixed.csv": mixed, "good.csv": ROWS}.items():
        Path(name).write_text("\n".join(["x,word,y", *rows, ""]))


def load(source: Source, columns: dict[str, Any], target: Any, cache: Path | None = None, **options: Any) -> Data:
    features = Features({"target": target}, columns, {"columns": tuple(columns)})
    return load_encoded(source, features, identity="" if cache is None else "test", cache=cache, **options)


def bytes_of(data: Data) -> Any:
    """All that training depends on, but for fingerprints."""
    arrays = {(name, key): np.asarray(array) for name, arrays in data.encoded.items() for key, array in arrays.items()}
    splits = {name: rows.tolist() for name, rows in data.splits.items()}
    constants = {name: repr(constant) for name, constant in data.constants.items()}
    return {key: (array.dtype, array.shape, array.tobytes()) for key, array in arrays.items()}, splits, constants


@pytest.mark.parametrize("options", [{}, {"fold": (3, 1)}])
def test_the_encoded_data_is_that_of_a_file_without_the_skipped_rows(options: dict[str, Any]) -> None:
    columns = {"x": Numeric(key="x", normalize="z_score"), "word": Vocabulary(key="word")}
    target = Numeric(key="y")
    mixed = load(Csv(path="mixed.csv", on_bad_row="skip", stratify="word"), columns, target, **options)
    good = load(Csv(path="good.csv", stratify="word"), columns, target, **options)
    assert bytes_of(mixed) == bytes_of(good)
    assert mixed.fingerprint != good.fingerprint
    assert (mixed.skipped_rows, good.skipped_rows) == (3, None)
    assert mixed.left_out == (SENTENCE,)
    assert [warning for warning in mixed.warnings if warning not in mixed.left_out] == [*good.warnings]
    kept = [number for number in range(63) if number not in BAD_ROWS]
    assert mixed.number_rows("test").tolist() == [kept[row] for row in good.splits["test"]]


def test_a_second_run_needs_no_pass_over_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        PIL.Image.fromarray(np.full((2, 2), number, np.uint8)).save(file, "PNG")
        path.write_bytes(file.getvalue()[:-20] if number == 7 else file.getvalue())

    def load_images(**options: Any) -> Data:
        columns = {"image": Image(key="image")}
        source = ImageFolders(path=str(tmp_path / "images"), on_bad_row="skip", valid=2, test=2)
        return load(source, columns, Label(key="label"), tmp_path / "cache", **options)

    first = load_images()
    assert (first.skipped_rows, sum(map(len, first.splits.values()))) == (1, 11)
    monkeypatch.setattr("components.data.image_folders.verify_files", None)
    assert bytes_of(load_images()) == bytes_of(first)
    assert load_images(fold=(2, 0)).left_out == first.left_out, "the folds of a run share the pass"


@pytest.mark.slow
@pytest.mark.optax
def test_a_run_counts_prints_and_records_the_rows_that_it_skips(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LINE, *QUICK]) == 2
    error = capsys.readouterr().err
    assert "mixed.csv, line 19: the number of fields is 2, not 3" in error
    assert "on_bad_row=skip" in error
    Path("number.csv").write_text("\n".join(["x,word,y", *ROWS, BAD_ROWS[3], ""]))
    assert main(["data=csv", "data.path=number.csv", "data.target=y", *QUICK]) == 2
    assert "to skip these rows, set data.on_bad_row=skip" in capsys.readouterr().err
    sentence, messages = (
        text.replace("not a number", "not of type float") for text in (SENTENCE, MESSAGES)
    )  # a suggestion declares the types
    assert main([*LINE, *QUICK[:-1], SKIP]) == 0
    printed = capsys.readouterr()
    assert f"warning: {sentence}" in printed.out + printed.err
    assert (printed.out + printed.err).count(messages) == 1, "printed once"
    (folder,) = Path("outputs").iterdir()
    assert read_record(folder)["tags"]["left_out"] == sentence
    assert f"warning: {sentence}" in (folder / "log.txt").read_text()
    metrics = json.loads((folder / "summary.json").read_text())["metrics"]
    assert metrics["skipped_rows"] == 3
    assert name_final_metric("skipped_rows") == "system/skipped_rows"
    words = [word.replace("mixed.csv", "good.csv") for word in LINE]
    same = runner.run(*words, *QUICK).metrics
    assert same["test/loss"] == metrics["test/loss"]
    assert "skipped_rows" not in same

    # New rows: each needs a prediction; an evaluation skips as training does.
    Path("new.csv").write_text("x,word,y\n1.5,a,1\nbad,b,2\n2.5,b,3\nworse,a,1\n")
    new = [f"run={folder}", "data.path=new.csv"]
    assert main(["mode=predict", *new, "output=found.csv"]) == 2
    error = capsys.readouterr().err
    assert "2 of 4 rows are skipped: new.csv, line 3: column `x` is 'bad', not of type float; new.csv, line 5" in error
    assert "Rows to predict can't be skipped (`on_bad_row`), because each of them needs a prediction." in error
    Path("other.csv").write_text("x,word,other\n" + "1.5,a,1\n" * 8 + "2.5,b,text\n")
    words = ["mode=predict", f"run={folder}", "data.path=other.csv", "output=other_found.csv"]
    assert main(words) == 0, f"the run doesn't read `other`: {capsys.readouterr().err}"
    capsys.readouterr()
    assert main(["mode=predict", *new, "output=found.csv", "data.on_bad_row=error"]) == 2
    error = capsys.readouterr().err
    assert "new.csv, line 3: column `x` is 'bad', not of type float (2 of 4 values aren't); correct the value" in error
    assert "to skip such rows" not in error
    assert main(["mode=evaluate", *new]) == 0
    printed = capsys.readouterr()
    assert "warning: 2 of 4 rows are skipped: new.csv, line 3" in printed.out + printed.err
    with pytest.raises(DataError, match="Rows to predict can't be skipped"):
        runner.load(folder).predict(Csv(path="new.csv", on_bad_row="skip", types={"x": "float"}))
