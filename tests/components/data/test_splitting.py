"""The options that all sources share: every row is in one split or left out, groups and times are never divided."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data import Arrays, Csv, Frame, TextFolders
from components.types import DataError

ROWS = 60
SEEDS = st.integers(0, 2**32)
SMALL = st.lists(st.integers(0, 12), min_size=ROWS, max_size=ROWS)


def arrays(seed: int = 0, **options: Any) -> Arrays:
    random = np.random.default_rng(0)
    columns = {
        "id": np.arange(ROWS),
        "when": np.datetime64("2020-01-01") + random.integers(0, 30, ROWS),
        "patient": np.array([f"p{n}" for n in random.integers(0, 20, ROWS)], object),
        "label": np.arange(ROWS) % 3,
    }
    return Arrays(**{"columns": columns, "seed": seed, **options})


def names_of_rows(splits: dict[str, np.ndarray]) -> np.ndarray:
    """The split of each row. Fails if one has two."""
    names = np.full(ROWS, "", object)
    for name, rows in splits.items():
        assert (np.diff(rows) > 0).all()
        assert (names[rows] == "").all()
        names[rows] = name
    return names


def assert_undivided(values: np.ndarray, names: np.ndarray) -> None:
    for value in np.unique(values):
        assert len(set(names[values == value])) == 1


@pytest.mark.parametrize(
    "options",
    [{"split_hash": "id"}, {"split_by": "when"}, {"group": "patient"}, {"group": "patient", "stratify": "label"}],
)
@given(seed=SEEDS)
def test_every_row_is_in_one_split(options: dict[str, Any], seed: int) -> None:
    names = names_of_rows(arrays(seed, **options).splits())
    assert set(names) == {"train", "valid", "test"}


@given(groups=SMALL, seed=SEEDS, stratified=st.booleans(), folds=st.integers(2, 5))
def test_groups_are_never_divided(groups: list[int], seed: int, stratified: bool, folds: int) -> None:
    columns = {"x": np.arange(ROWS), "group": np.array(groups), "label": np.arange(ROWS) % 2}
    options: dict[str, Any] = {"stratify": "label"} if stratified else {}
    source = Arrays(columns=columns, group="group", seed=seed, **options)
    count = len(set(groups))
    if count < 3:
        with pytest.raises(DataError, match=r"`group`: its column has .*, too few for 3 splits"):
            source.splits()
        return
    names = names_of_rows(source.splits())
    assert_undivided(columns["group"], names)
    if len(np.unique(columns["group"][names != "test"])) < folds:
        with pytest.raises(DataError, match=r"too few for \d folds"):
            source.folds(folds, 0)
        return
    parts = [names_of_rows(source.folds(folds, fold)) for fold in range(folds)]
    for part in parts:
        assert_undivided(columns["group"], part)
    held_out = np.array([part == "valid" for part in parts])
    assert (held_out.sum(axis=0) == (names != "test")).all()  # the folds partition the other rows


def test_groups_have_about_the_wanted_shares_of_rows_and_classes() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 100, 3000)
    rare = groups % 10 == 0  # a tenth of the groups has the class
    source = Arrays(columns={"g": groups, "label": rare}, group="g", stratify="label", valid=0.2, test=0.2)
    splits = source.splits()
    assert abs(len(splits["test"]) - 600) < 60
    for rows in splits.values():
        assert abs(rare[rows].mean() - rare.mean()) < 0.05
    folds = [source.folds(4, fold)["valid"] for fold in range(4)]
    assert np.ptp([len(rows) for rows in folds]) < 60
    assert np.ptp([rare[rows].sum() for rows in folds]) < 60


@pytest.mark.parametrize("classes", [["a", "b"], [0, 1], [0.5, 1.0], [True, False]])
def test_rows_without_a_class_are_a_class_of_their_own(classes: list[Any]) -> None:
    def source(gaps: int, **options: Any) -> Frame:
        return Frame(columns={"g": [None] * gaps + classes * 10, "x": range(20 + gaps)}, **options)

    splits = source(10, stratify="g", valid=6, test=6).splits()
    assert [int((rows < 10).sum()) for rows in splits.values()] == [6, 2, 2]
    for gaps, number in ((1, "1 row"), (2, "2 rows")):
        message = rf"`stratify`: its column has no value in {number}, too few to stratify 3 splits; fill in the values"
        with pytest.raises(DataError, match=message):
            source(gaps, stratify="g").splits()
    with pytest.raises(DataError, match="no value in 4 rows, too few to stratify 8 folds"):
        source(4, stratify="g", test=1, valid=1).folds(8, 0)
    assert len(source(10, per_class=2, target="g").splits()["train"]) == 6


def test_a_large_group_is_trained_on() -> None:
    groups = np.repeat(np.arange(11), [500, *[50] * 10])
    for seed in range(5):
        splits = Arrays(columns={"g": groups}, group="g", seed=seed).splits()
        assert 0 in groups[splits["train"]]
        assert [len(splits[name]) for name in ("valid", "test")] == [150, 150]


@given(seed=SEEDS, added=st.integers(1, 30), permutation=st.permutations(range(ROWS)), fold=st.integers(0, 2))
def test_a_hash_split_does_not_move_as_rows_are_added_or_permuted(
    seed: int, added: int, permutation: list[int], fold: int
) -> None:
    keys = np.arange(ROWS) * 7
    more = np.concatenate([keys, 1_000_000 + np.arange(added)])[[*permutation, *range(ROWS, ROWS + added)]]
    for make in (lambda source: source.splits(), lambda source: source.folds(3, fold)):
        before, after = (
            {
                int(key): name
                for name, rows in make(Arrays(columns={"k": values}, split_hash="k", seed=seed)).items()
                for key in values[rows]
            }
            for values in (keys, more)
        )
        assert before.items() <= after.items()


def test_a_hash_depends_on_the_key_and_not_on_how_it_is_stored() -> None:
    """Keys become texts as soon as a row has a letter in its key. This split is that of every version."""
    values = [*range(40)]
    stored = [np.array(values), np.array(values, float), [*map(str, values)], np.array(values, "i2")]
    splits = [Frame(columns={"k": each, "x": values}, split_hash="k").splits() for each in stored]
    assert [found["test"].tolist() for found in splits] == [[0, 3, 17, 21, 25, 27, 28, 29, 34]] * 4


def test_bytes_that_are_no_text_may_decide_about_splits() -> None:
    keys = [bytes([number % 20, 255]) for number in range(ROWS)]
    columns = {"k": keys, "gaps": [None, b"\xff", b"\xfe"] * 20, "x": range(ROWS)}
    for options in ({"split_hash": "k"}, {"group": "k"}):
        names = names_of_rows(dict(Frame(columns=columns, **options).splits()))
        assert (names.reshape(3, 20) == names[:20]).all()
        assert {*names} == {"train", "valid", "test"}
    assert (names_of_rows(dict(Frame(columns=columns, stratify="gaps").splits())) != "").all()


def test_a_large_whole_key_is_the_same_beside_a_key_with_decimals() -> None:
    keys = np.arange(40) * 1e16
    alone = Arrays(columns={"k": keys}, split_hash="k").splits()
    beside = Arrays(columns={"k": np.append(keys, 0.5)}, split_hash="k").splits()
    assert [rows[rows < 40].tolist() for rows in beside.values()] == [rows.tolist() for rows in alone.values()]


def test_the_seed_changes_a_hash_split() -> None:
    assert len({str(arrays(seed, split_hash="id").splits()) for seed in range(4)}) == 4


@given(times=SMALL, valid=st.floats(0.05, 0.4), test=st.floats(0.05, 0.4), folds=st.integers(2, 4))
def test_equal_times_are_never_divided_and_the_latest_are_held_out(
    times: list[int], valid: float, test: float, folds: int
) -> None:
    values = np.array(times)
    source = Arrays(columns={"t": values}, split_by="t", valid=valid, test=test)
    if len(set(times)) < 3:
        with pytest.raises(DataError, match=r"`split_by`: its column has .*, too few for 3 splits"):
            source.splits()
        return
    splits = source.splits()
    names_of_rows(splits)
    assert values[splits["train"]].max() < values[splits["valid"]].min()
    assert values[splits["valid"]].max() < values[splits["test"]].min()
    if len(np.unique(values[values < values[splits["test"]].min()])) <= folds:
        with pytest.raises(DataError, match=r"too few for \d blocks of time"):
            source.folds(folds, 0)
        return
    parts = [source.folds(folds, fold) for fold in range(folds)]
    for part in parts:  # each fold is the block after its training rows
        assert values[part["train"]].max() < values[part["valid"]].min()
    assert len(np.unique(np.concatenate([part["valid"] for part in parts]))) == sum(
        len(part["valid"]) for part in parts
    )


def test_the_latest_fifth_is_the_test_split() -> None:
    splits = Arrays(columns={"t": np.arange(100)[::-1]}, split_by="t").splits()
    assert splits["test"].tolist() == [*range(20)]
    assert splits["valid"].tolist() == [*range(20, 35)]
    folds = [Arrays(columns={"t": np.arange(100)}, split_by="t").folds(3, fold) for fold in range(3)]
    assert [[len(part["train"]), len(part["valid"])] for part in folds] == [[20, 20], [40, 20], [60, 20]]


def test_a_split_by_a_date_with_gaps_names_the_first_gap(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("when,x\n2020-01-02,1\n,2\n2020-01-04,3\n\n,4\n")
    message = (
        r"`split_by` \(=when\) has no value in 2 rows, the first is .*t.csv, line 3. Fill in the values, or remove"
    )
    with pytest.raises(DataError, match=message):
        Csv(path=str(tmp_path / "t.csv"), split_by="when").splits()
    times = np.array(["2020-01-01", "NaT", "2020-01-03"], "M8[D]")
    with pytest.raises(DataError, match="has no value in 1 row, the first is row 1 of the arrays"):
        Arrays(columns={"t": times}, split_by="t").splits()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split_by": "patient"}, r"`split_by` \(=patient\) has values such as p\d+. It needs dates, times or numbers"),
        ({"group": "pateint"}, r"`group` \(=pateint\) is no column. Did you mean patient\?"),
        ({"split_column": "patient"}, r"`split_column` \(=patient\) has the values p\d.*Allowed are train, test, and"),
        ({"split_hash": "id", "test": 20}, r"`test` \(=20\) is a number of rows.*set `test` to a share in \(0, 1\)"),
        ({"split_hash": "one"}, r"`split_hash` leaves the \w+ split empty: its column has 1 value in 60 rows"),
        ({"group": "one"}, "`group`: its column has 1 value, so all rows are one group, too few for 3 splits"),
        ({"classes": (0, 5)}, r"`classes` lists 5, but column `label` has no such value"),
        ({"split_by": "when", "group": "patient"}, r"`group` \(=patient\) and `split_by` \(=when\) exclude each other"),
        ({"split_hash": "id", "seed": None}, r"`seed` \(=null\) and `split_hash` \(=id\) exclude each other"),
        ({"valid": "more.csv"}, r"`valid` \(=more.csv\) must be a share in \(0, 1\), or a number of rows"),
    ],
)
def test_impossible_options_raise_an_error(options: dict[str, Any], message: str) -> None:
    columns = {**arrays().columns, "one": np.ones(ROWS)}
    with pytest.raises(DataError, match=message):
        Arrays(columns=columns, **options).splits()


@pytest.mark.parametrize(
    "names", [("train", "valid", "test"), ("TRAIN", "dev", "Test "), ("train", "validation", "test")]
)
def test_a_column_names_the_splits(names: tuple[str, ...]) -> None:
    of_row = np.arange(ROWS) % 3
    columns = {"x": np.arange(ROWS), "part": [names[number] for number in of_row]}
    splits = Arrays(columns=columns, split_column="part").splits()
    assert {name: (rows % 3).tolist() for name, rows in splits.items()} == {
        name: [number] * 20 for number, name in enumerate(("train", "valid", "test"))
    }
    with pytest.raises(DataError, match=r"has rows of the validation split, and `valid` \(=0.2\) is set. Leave it out"):
        Arrays(columns=columns, split_column="part", valid=0.2).splits()


def test_the_validation_split_is_taken_from_the_training_rows_that_a_column_names() -> None:
    columns = {"x": np.arange(ROWS), "part": ["train", "train", "test"] * 20, "g": np.arange(ROWS) // 6}
    splits = Arrays(columns=columns, split_column="part", valid=0.25).splits()
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [30, 10, 20]
    assert (splits["test"] % 3 == 2).all()
    with pytest.raises(DataError, match=r"`group` \(=g\): 0 has rows in two splits, valid and test"):
        Arrays(columns=columns | {"g": np.arange(ROWS) // 30}, split_column="part", group="g").splits()


@given(seed=SEEDS, limit=st.integers(1, 30))
def test_a_number_of_training_examples_of_each_class_is_kept(seed: int, limit: int) -> None:
    whole, part = arrays(seed).splits(), arrays(seed, per_class=limit).splits()
    labels = np.arange(ROWS) % 3
    sizes = np.bincount(labels[whole["train"]])
    assert np.bincount(labels[part["train"]]).tolist() == np.minimum(sizes, limit).tolist()
    assert set(part["train"]) <= set(whole["train"])
    assert all((part[name] == whole[name]).all() for name in ("valid", "test"))
    assert (np.bincount(labels[arrays(seed, per_class=2).folds(3, 0)["train"]]) == 2).all()


@pytest.mark.parametrize("classes", [(0, 2), ("0", "2"), (0.0, 2.0)])
def test_rows_of_other_classes_are_in_no_split(classes: tuple[Any, ...]) -> None:
    splits = arrays(classes=classes).splits()
    rows = np.sort(np.concatenate(list(splits.values())))
    assert rows.tolist() == [row for row in range(ROWS) if row % 3 != 1]


def test_a_table_leaves_out_rows_of_other_classes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,kind\n" + "".join(f"{n},{'abc'[n % 3]}\n" for n in range(30)))
    source = Csv(path=str(tmp_path / "t.csv"), target="kind", classes=("a", "c"))
    assert source.sizes() == {"all": 20}
    assert source.left_out() == ("10 of 30 rows have another class than a, c and are left out",)
    assert source.row_numbers().tolist() == [n for n in range(30) if n % 3 != 1]  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"`classes` lists d, but column `kind` has no such value\. Allowed: a, b, c"):
        Csv(path=str(tmp_path / "t.csv"), target="kind", classes=("a", "d")).sizes()


def test_given_parts_are_the_splits() -> None:
    part = {"x": np.arange(10)}
    splits = Arrays(columns={"train": part, "valid": part, "test": part}).splits()
    assert {name: rows.tolist() for name, rows in splits.items()} == {
        "train": [*range(10)],
        "valid": [*range(10, 20)],
        "test": [*range(20, 30)],
    }
    with pytest.raises(DataError, match=r"the data has a part `valid`, and `valid` \(=0.2\) is set; leave it out"):
        Arrays(columns={"train": part, "valid": part, "test": part}, valid=0.2).splits()


def test_a_folder_called_valid_is_the_validation_split(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("valid", 3), ("test", 2)):
        for label in ("neg", "pos"):
            folder = tmp_path / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.txt").write_text(f"{part} {number}")
    sizes = {name: len(rows) for name, rows in TextFolders(path=str(tmp_path)).splits().items()}
    assert sizes == {"train": 12, "valid": 6, "test": 4}
    sizes = {name: len(rows) for name, rows in TextFolders(path=str(tmp_path), valid=2).splits().items()}
    assert sizes == {"train": 10, "valid": 2, "test": 4}


# ------------------------------------------------------------------------------------------------- files of a table


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)


def test_other_files_are_the_validation_and_the_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path, a="x,day,z\n1,31/01/2020,q\n2,05/02/2020,q\n", b="day,more,x\n03/04/2021,0,7\n", c="x,day\n,\n2.5,\n"
    )
    source = Csv(path="a.csv", valid="b.csv", test="c.csv", drop=("z",))
    assert source.sizes() == {"train": 2, "valid": 1, "test": 2}
    assert {name: rows.tolist() for name, rows in source.splits().items()} == {
        "train": [0, 1],
        "valid": [2],
        "test": [3, 4],
    }
    valid, test = (next(source.blocks(part)) for part in ("valid", "test"))
    assert valid.columns.keys() == {"x", "day"}
    assert valid.columns["x"].tolist() == [7]  # type: ignore[union-attr]
    assert valid.columns["x"].dtype == np.int64  # type: ignore[union-attr]
    assert str(valid.columns["day"][0])[:10] == "2021-04-03"  # as in the training file, the day is first
    assert test.columns["x"].tolist()[1] == 2.5  # type: ignore[union-attr]
    assert test.valid["day"].tolist() == [False, False]
    assert (valid.locate(0), test.locate(1)) == ("b.csv, line 2", "c.csv, line 3")
    with pytest.raises(
        DataError, match=r"b.csv has no column `z`, which a.csv has. Add the column, or list it in `drop`"
    ):
        Csv(path="a.csv", valid="b.csv").sizes()
    with pytest.raises(DataError, match=r"b.csv has no column `z`, which a.csv has. Add the column. Columns: "):
        Csv(path="a.csv", valid="b.csv", target="z").sizes()


@pytest.mark.parametrize("dates", ["utc", {"": "utc"}])
def test_another_file_has_the_order_and_the_zone_of_the_training_file(tmp_path: Path, dates: Any) -> None:
    write(
        tmp_path,
        a="day,at\n01/31/2020,2020-01-01T10:00\n02/05/2020,2020-01-01T11:00\n",
        b="day,at\n03/04/2021,2020-01-01T10:00Z\n03/05/2021,2020-01-01T11:00\n",
    )
    source = Csv(path=str(tmp_path / "a.csv"), valid=str(tmp_path / "b.csv"), dates=dates)
    columns = next(source.blocks("valid")).columns
    assert [str(columns[name][1])[:13] for name in ("day", "at")] == ["2021-03-05T00", "2020-01-01T11"]  # type: ignore[index]


def test_the_content_of_another_file_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    write(tmp_path, a="x\n1\n2\n3\n", b="x\n1\n")
    source = lambda: Csv(path=str(tmp_path / "a.csv"), test=str(tmp_path / "b.csv"))  # noqa: E731
    before = source().fingerprint()
    write(tmp_path, b="x\n2\n")
    assert source().fingerprint() != before


def test_rows_without_a_target_are_left_out_of_each_file(tmp_path: Path) -> None:
    write(tmp_path, a="x,y\n1,a\n2,\n3,b\n", b="x,y\n1,\n5,a\n")
    source = Csv(
        path=str(tmp_path / "a.csv"), test=str(tmp_path / "b.csv"), valid=1, target="y", on_missing_target="drop"
    )
    assert source.sizes() == {"train": 2, "test": 1}
    assert source.row_numbers().tolist() == [0, 2, 4]  # type: ignore[union-attr]
    assert source.left_out() == tuple(
        f"1 of {rows} rows of {tmp_path / name} has no value of y and is left out"
        for rows, name in ((3, "a.csv"), (2, "b.csv"))
    )


def test_the_fingerprint_of_earlier_versions_is_kept() -> None:
    """Runs know the fingerprint of their data. Shares that aren't set have the value that they had as defaults."""
    frame = {"columns": {"x": [1, 2, 3]}}
    assert Frame(**frame).fingerprint() == Frame(**frame, valid=0.15, test=0.15).fingerprint()
    assert Frame(**frame).describe_splits() == "self.valid=0.15, self.test=0.15, self.stratify=None, self.seed=0"
