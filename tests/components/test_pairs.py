"""Pairs of rows: drawn within a split, an exact share of them of one class, and each partner as often as the others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.examples import Pairs
from components.types import FieldError, TargetSpec, UserError
from runner.data.order import epoch_order

ROWS = st.lists(st.tuples(st.integers(-1, 3), st.sampled_from(["train", "test", None])), min_size=1, max_size=60)


def draw(pairs: Pairs, classes: np.ndarray, splits: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows of each pair by split, (pairs, 2)."""
    found = pairs.draw(classes, splits)
    assert found.order is not None
    assert found.positions is not None
    both = [found.order[found.positions[: len(classes)] + step] for step in pairs.input_steps("image")]
    return {name: np.stack(both, 1)[rows] for name, rows in zip(splits, found.rows, strict=True)}


@settings(max_examples=80, deadline=None)
@given(rows=ROWS, same=st.sampled_from([0.01, 0.3, 0.5, 0.95]), seed=st.integers(0, 3))
def test_each_row_with_a_class_starts_a_pair_in_its_split(
    rows: list[tuple[int, str | None]], same: float, seed: int
) -> None:
    classes = np.array([number for number, _ in rows], np.int32)
    splits = {name: np.array([n for n, (_, own) in enumerate(rows) if own == name], int) for name in ("train", "test")}
    known = {name: own[classes[own] >= 0] for name, own in splits.items()}
    wanted = {name: min(max(int(same * len(own) + 0.5), 1), len(own) - 1) for name, own in known.items()}
    counts = {name: np.unique(classes[own], return_counts=True)[1] for name, own in known.items()}
    is_possible = all(len(counts[name]) > 1 and counts[name][counts[name] > 1].sum() >= wanted[name] for name in known)
    pairs = Pairs(same=same, seed=seed)
    if not is_possible:
        with pytest.raises(UserError):
            pairs.draw(classes, splits)
        return
    for name, drawn in draw(pairs, classes, splits).items():
        assert drawn[:, 0].tolist() == known[name].tolist()
        assert np.isin(drawn[:, 1], known[name]).all()
        assert (drawn[:, 0] != drawn[:, 1]).all()
        assert (classes[drawn[:, 0]] == classes[drawn[:, 1]]).sum() == wanted[name]
    assert pairs.draw(classes, splits).left_out == [len(splits[name]) - len(known[name]) for name in splits]


def test_all_partners_are_equally_likely() -> None:
    classes = np.repeat(np.arange(3), [2, 3, 5])
    rows = {"train": np.arange(10)}
    counts = np.zeros((10, 10))
    for seed in range(600):
        np.add.at(counts, tuple(draw(Pairs(seed=seed), classes, rows)["train"].T), 1)
    for row in range(10):
        for is_partner in (classes == classes[row], classes != classes[row]):
            is_partner[row] = False
            expected = 300 / is_partner.sum()
            assert np.abs(counts[row][is_partner] - expected).max() < 5 * expected**0.5  # standard deviations
    assert (np.diag(counts) == 0).all()


def test_pairs_are_those_of_the_seed() -> None:
    classes, rows = np.arange(200, dtype=np.int32) % 4, {"train": np.arange(100), "test": np.arange(100, 200)}
    first, again, other = (draw(Pairs(seed=seed), classes, rows) for seed in (1, 1, 2))
    for name in rows:
        assert (first[name] == again[name]).all()
        assert (first[name] != other[name]).any()
    assert (first["train"][:, 1] != first["test"][:, 1] - 100).any()


def test_the_order_of_an_epoch_tells_nothing_about_its_pairs() -> None:
    classes, rows = np.arange(4000, dtype=np.int32) % 10, np.arange(4000)
    for seed in range(3):
        pairs = draw(Pairs(seed=seed), classes, {"train": rows})["train"]
        is_same = classes[pairs[:, 0]] == classes[pairs[:, 1]]
        first_half = epoch_order(rows, seed, 0)[:2000]
        assert 900 < is_same[first_half].sum() < 1100


def test_training_rows_get_another_partner_in_each_draw_and_others_the_first_one() -> None:
    classes, splits = np.arange(40, dtype=np.int32) % 4, {"train": np.arange(20), "test": np.arange(20, 40)}
    found = Pairs(draws=3).draw(classes, splits)
    assert found.order is not None
    assert found.positions is not None
    partners = found.order[found.positions + 1].reshape(3, 40)
    once = Pairs().draw(classes, splits)
    assert once.order is not None
    assert (partners[0] == once.order[1::2]).all()
    assert (partners[1:, 20:] == np.arange(20, 40)).all()  # no split has them
    same = [classes[:20] == classes[own[:20]] for own in partners]
    assert [own.sum() for own in same] == [10, 10, 10]
    assert (partners[0, :20] != partners[1, :20]).any()
    assert (same[0] != same[1]).any()  # the first row doesn't tell whether its partner has its class


@pytest.mark.parametrize(
    ("classes", "same", "message"),
    [
        ([1, 1, 1], 0.5, "the train split has rows of one class only: pairs"),
        ([-1, -1], 0.5, "the train split has no row with a class"),
        ([0, 1, 2, 2, 3], 0.5, "0.5 makes 3 of the 5 pairs of the train split pairs of one class, and only 2"),
    ],
)
def test_a_split_without_such_pairs_is_an_error(classes: list[int], same: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pairs(same=same).draw(np.array(classes), {"train": np.arange(len(classes))})


def test_more_draws_than_int32_counts_are_an_error() -> None:
    with pytest.raises(FieldError, match=r"1,000,000,000 are too many for 3 rows. Choose at most 357,913,941"):
        Pairs(draws=10**9).draw(np.array([0, 1, 1]), {"train": np.arange(3)})


def spec(kind: str, shape: tuple[int, ...] = (), **fields: object) -> TargetSpec:
    classes = None if kind == "real" else ("a", "b", "c")
    return TargetSpec(kind, shape, classes, lambda logits: logits, **fields)  # type: ignore[arg-type]


def test_the_target_of_a_pair_has_two_classes() -> None:
    bound = Pairs().bind(spec("classes", can_be_missing=True))
    assert (bound.classes, bound.values, bound.can_be_missing) == (("different", "same"), ("different", "same"), False)
    joined = Pairs().join_targets(np.array([[3, 3], [3, 2], [0, 1], [1, 1]]))  # type: ignore[arg-type]
    assert joined.dtype == np.int32
    assert joined.tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (spec("real", (1,)), "it has numbers"),
        (spec("multilabel", (3,)), "it has several classes"),
        (spec("classes", (4, 4)), "it has a class for each pixel"),
        (spec("classes", class_weights=np.ones(3)), "the target has weights of classes"),
    ],
)
def test_other_targets_are_errors(target: TargetSpec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pairs().bind(target)
