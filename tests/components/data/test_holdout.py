"""What is held out: disjoint, complete, the same every time, and of every class its share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data import Arrays, split
from components.data.folds import split_for_fold
from components.data.holdout import RowKeys, _divide_rows
from components.types import DataError

SEEDS = st.one_of(st.none(), st.integers(0, 2**32))


@given(rows=st.integers(3, 200), valid=st.integers(1, 50), test=st.integers(1, 50), seed=SEEDS)
def test_three_splits_of_all_rows_are_disjoint_complete_and_of_the_right_sizes(
    rows: int, valid: int, test: int, seed: int | None
) -> None:
    valid, test = min(valid, rows // 3), min(test, rows // 3)
    splits = split({"all": rows}, valid=valid, test=test, seed=seed)
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [rows - valid - test, valid, test]
    assert sorted(np.concatenate(list(splits.values()))) == list(range(rows))
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in splits.values())
    again = split({"all": rows}, valid=valid, test=test, seed=seed)
    assert all((splits[name] == again[name]).all() for name in splits)


@given(train=st.integers(2, 100), test=st.integers(1, 50), seed=SEEDS, data=st.data())
def test_a_given_test_part_stays_whole_behind_the_training_rows(
    train: int, test: int, seed: int | None, data: st.DataObject
) -> None:
    valid = data.draw(st.integers(1, train - 1))
    splits = split({"train": train, "test": test}, valid=valid, seed=seed)
    assert splits["test"].tolist() == list(range(train, train + test))
    assert sorted([*splits["train"], *splits["valid"]]) == list(range(train))
    assert len(splits["valid"]) == valid


@given(train=st.integers(1, 50), test=st.integers(2, 100), seed=SEEDS, data=st.data())
def test_validation_out_of_the_test_part_leaves_the_training_rows_whole(
    train: int, test: int, seed: int | None, data: st.DataObject
) -> None:
    valid = data.draw(st.integers(1, test - 1))
    splits = split({"train": train, "test": test}, valid=valid, seed=seed, valid_from="test")
    assert splits["train"].tolist() == list(range(train))
    assert sorted([*splits["valid"], *splits["test"]]) == list(range(train, train + test))
    assert len(splits["valid"]) == valid


def test_a_validation_split_from_the_test_part_must_be_smaller_than_it() -> None:
    with pytest.raises(DataError, match=r"`valid_from` \(=test\) needs a source with a test set"):
        split({"all": 10}, valid=2, test=2, valid_from="test")
    with pytest.raises(DataError, match=r"holds out 4 of 4 rows, so no row is left for the test split"):
        split({"train": 10, "test": 4}, valid=4, valid_from="test")


@given(
    sizes=st.lists(st.integers(8, 40), min_size=1, max_size=5),
    valid=st.floats(0.1, 0.3),
    test=st.floats(0.1, 0.3),
    seed=SEEDS,
)
def test_a_stratified_split_has_the_share_of_every_class_within_one_row(
    sizes: list[int], valid: float, test: float, seed: int | None
) -> None:
    strata = np.random.default_rng(0).permutation(np.repeat([f"class {c}" for c in range(len(sizes))], sizes))
    splits = split({"all": len(strata)}, valid=valid, test=test, seed=seed, keys=RowKeys(strata=strata))
    assert sorted(np.concatenate(list(splits.values()))) == list(range(len(strata)))
    pool = np.arange(len(strata))
    for name, share in (("test", test), ("valid", valid)):
        assert len(splits[name]) == round(share * len(strata))
        for number in np.unique(strata):
            exact = len(splits[name]) * (strata[pool] == number).sum() / len(pool)
            assert abs((strata[splits[name]] == number).sum() - exact) < 1
        pool = np.setdiff1d(pool, splits[name])


@given(st.integers(3, 40), st.integers(1, 40), st.integers(1, 40), st.none() | st.integers(0, 5))
def test_splits_without_classes_are_those_of_a_single_class(rows: int, valid: int, test: int, seed: int | None) -> None:
    if valid + test < rows:
        found, expected = (
            split({"all": rows}, valid=valid, test=test, seed=seed, keys=RowKeys(strata=strata))
            for strata in (None, np.zeros(rows))
        )
        for name, part in expected.items():
            np.testing.assert_array_equal(found[name], part)


def test_without_a_seed_the_last_rows_are_held_out_in_order() -> None:
    splits = split({"all": 10}, valid=2, test=0.3)
    assert splits["train"].tolist() == [0, 1, 2, 3, 4]
    assert splits["valid"].tolist() == [5, 6]
    assert splits["test"].tolist() == [7, 8, 9]


def test_largest_remainders_get_the_rows_left_over() -> None:
    strata = np.repeat(["a", "b", "c"], [5, 3, 4])  # of 4 rows: 1.67, 1, 1.33
    splits = split({"train": 12, "test": 1}, valid=4, keys=RowKeys(strata=np.append(strata, "a")))
    assert splits["valid"].tolist() == [3, 4, 7, 11]


def test_a_seed_keeps_its_meaning() -> None:
    splits = split({"all": 10}, valid=2, test=2, seed=0)
    assert (splits["valid"].tolist(), splits["test"].tolist()) == ([1, 2], [4, 6])


def test_another_seed_holds_out_other_rows() -> None:
    one, other = (split({"all": 100}, valid=20, test=20, seed=seed)["test"] for seed in (0, 1))
    assert set(one) != set(other)


@pytest.mark.parametrize(
    ("sizes", "arguments", "message"),
    [
        (
            {"all": 10},
            {"valid": 0.01, "test": 2},
            r"`valid` \(=0\.01\) of 10 rows leaves the valid split empty",
        ),
        ({"all": 10}, {"valid": 2, "test": 0.01}, "leaves the test split empty"),
        (
            {"all": 10},
            {"valid": 5, "test": 0.5},
            r"`test` \(=0\.5\) and `valid` \(=5\) hold out 10 of 10",
        ),
        ({"train": 10, "test": 1}, {"valid": 11}, "holds out 11 of 10 rows, so no row is left for the train split"),
        (
            {"all": 10},
            {"valid": 1.5, "test": 2},
            r"`valid` \(=1\.5\) must be a share in \(0, 1\) or a whole number",
        ),
        ({"all": 10}, {"valid": 0, "test": 2}, "must be a share"),
        ({"all": 10}, {"valid": float("nan"), "test": 2}, "must be a share"),
        ({"all": 10}, {"valid": 2}, "the data has no part `test`, only all; set `test`"),
        ({"all": 10, "test": 2}, {}, "the data has no part `valid`, only all, test; set `valid`"),
        (
            {"train": 10, "valid": 1, "test": 2},
            {"valid": 2},
            r"has a part `valid`, and `valid` \(=2\) is set; leave it out",
        ),
        ({"valid": 1, "test": 2}, {}, "the data has the parts valid, test; it needs a part `train`"),
        (
            {"train": 10, "valid": 1, "test": 2},
            {"valid_from": "test"},
            r"`valid_from` \(=test\) takes .* a part `valid`",
        ),
        ({"train": 10, "test": 5}, {"valid": 2, "test": 2}, r"a part `test`, and `test` \(=2\) is set; leave it out"),
        ({"train": 10, "test": 0}, {"valid": 2}, "part test of the data has no rows"),
        ({"all": 0}, {"valid": 2, "test": 2}, "part all of the data has no rows"),
    ],
)
def test_impossible_splits_raise_an_error(sizes: dict, arguments: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(sizes, **arguments)


@pytest.mark.parametrize(("rows", "count"), [(1, "1 row"), (2, "2 rows")])
def test_a_class_of_fewer_rows_than_splits_is_too_small_to_stratify(rows: int, count: str) -> None:
    strata = np.repeat(["common", "rare"], [20, rows])
    message = f"class 'rare' has {count}, too few to stratify 3 splits; remove .* or set `stratify=null`"
    with pytest.raises(DataError, match=message):
        split({"all": len(strata)}, valid=4, test=4, seed=0, keys=RowKeys(strata=strata))


def test_as_many_classes_as_rows_raise_an_error_at_once() -> None:
    """A pass over the rows for each class would take minutes."""
    with pytest.raises(DataError, match="class 0 has 1 row, too few to stratify 3 splits"):
        split({"all": 300_000}, valid=0.15, test=0.15, seed=0, keys=RowKeys(strata=np.arange(300_000)))


def test_a_class_that_stratifying_would_take_from_training_raises_an_error() -> None:
    strata = np.repeat(["common", "rare"], [40, 3])
    with pytest.raises(DataError, match="class 'rare' has 3 rows, too few to stratify 3 splits; remove"):
        split({"all": 43}, valid=20, test=20, keys=RowKeys(strata=strata))


@given(
    sizes=st.lists(st.integers(5, 20), min_size=1, max_size=4),
    folds=st.integers(2, 5),
    seed=SEEDS,
    stratified=st.booleans(),
)
def test_folds_hold_out_every_row_once_and_of_every_class_as_many(
    sizes: list[int], folds: int, seed: int | None, stratified: bool
) -> None:
    strata = np.random.default_rng(0).permutation(np.repeat(range(len(sizes)), sizes))
    rows = len(strata)
    splits = split({"train": rows, "test": 3}, valid=1, seed=seed)
    keys = RowKeys(strata=np.append(strata, [0, 0, 0]) if stratified else None)
    parts = [split_for_fold(splits, folds=folds, fold=number, seed=seed, keys=keys) for number in range(folds)]
    assert sorted(np.concatenate([part["valid"] for part in parts])) == list(range(rows))
    assert np.ptp([len(part["valid"]) for part in parts]) <= 1
    for part in parts:
        assert part["test"].tolist() == splits["test"].tolist()
        assert sorted([*part["train"], *part["valid"]]) == list(range(rows))
        assert (np.diff(part["valid"]) > 0).all()
        if stratified:
            counts = np.bincount(strata[part["valid"]], minlength=len(sizes))
            assert all(count in (size // folds, -(-size // folds)) for count, size in zip(counts, sizes, strict=True))


def test_without_a_seed_folds_are_consecutive_rows() -> None:
    splits = split({"all": 8}, valid=1, test=1)
    assert [split_for_fold(splits, folds=3, fold=n)["valid"].tolist() for n in range(3)] == [[0, 1], [2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("folds", "strata", "message"),
    [
        (8, None, r"`folds` \(=8\) must be at most 7, the number of rows outside of the test split"),
        (3, np.array([0, 0, 0, 0, 0, 1, 1, 1]), "class 1 has 2 rows, too few to stratify 3 folds"),
    ],
)
def test_impossible_folds_raise_an_error(folds: int, strata: np.ndarray | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_for_fold(split({"all": 8}, valid=1, test=1), folds=folds, fold=0, keys=RowKeys(strata=strata))


def test_folds_of_a_table_are_dealt_by_its_seed() -> None:
    """Where there is a test part, the seed decides about nothing but the folds."""
    parts = {"train": {"x": np.arange(20)}, "test": {"x": np.arange(5)}}

    def held(seed: int | None) -> list[list[int]]:
        source = Arrays(columns=parts, valid=4, seed=seed)
        return [source.folds(4, fold)["valid"].tolist() for fold in range(4)]

    assert held(1) == held(1)
    assert len({str(held(seed)) for seed in (None, 0, 1, 2)}) == 4


def test_folds_of_a_table_find_their_classes_wherever_the_parts_stand() -> None:
    part = {"x": np.arange(12), "label": np.arange(12) % 2}
    for parts in ({"train": part, "test": part}, {"test": part, "train": part}):
        held = [Arrays(columns=parts, valid=2, stratify="label").folds(3, number)["valid"] for number in range(3)]
        assert [np.bincount(rows % 2).tolist() for rows in held] == [[2, 2]] * 3
    held = [Arrays(columns=part, valid=2, test=2, stratify="label").folds(5, number) for number in range(5)]
    assert [np.bincount(part["valid"] % 2).tolist() for part in held] == [[1, 1]] * 5


@pytest.mark.parametrize("ranks", [np.arange(100), np.random.default_rng(0).integers(0, 6, 100), np.zeros(100)])
def test_rows_are_taken_from_the_end_of_their_order_even_if_ranks_are_equal(ranks: np.ndarray) -> None:
    splits = _divide_rows({"test": 17, "valid": 30}, ranks.astype(np.uint64))
    order = np.argsort(ranks, kind="stable")
    expected = {"test": order[-17:], "valid": order[-47:-17], "rest": order[:-47]}
    assert {name: rows.tolist() for name, rows in splits.items()} == {
        name: sorted(rows.tolist()) for name, rows in expected.items()
    }
