"""scikit-learn's data sets: their columns, and that asking about them doesn't import scikit-learn."""

import subprocess
import sys

import numpy as np
import pytest

from components.data import ScikitLearn
from components.types import DataError, UserError


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("digits", {"image": (8, 8, 1), "label": ()}),
        (
            "diabetes",
            dict.fromkeys(["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "progression"], ()),
        ),
        ("breast_cancer", {"measurements": (30,), "label": ()}),
        ("iris", {"measurements": (4,), "label": ()}),
        ("wine", {"measurements": (13,), "label": ()}),
    ],
)
def test_every_set_has_its_columns_and_as_many_rows_as_it_says(name: str, columns: dict) -> None:
    source = ScikitLearn(name=name, valid=0.1, test=0.2)
    blocks = list(source.blocks("all"))
    assert {key: values.shape[1:] for key, values in blocks[0].columns.items()} == columns
    for key in columns:
        assert {"all": sum(len(block.columns[key]) for block in blocks)} == source.sizes()


def test_digits_are_images_from_0_to_255() -> None:
    (block,) = ScikitLearn(name="digits", valid=0.1, test=0.2).blocks("all")
    image = block.columns["image"]
    assert image.dtype == np.uint8
    assert (image.min(), image.max(), len(np.unique(image))) == (0, 255, 17)
    assert np.abs(image / 255 - np.round(image / 255 * 16) / 16).max() < 0.002  # as scikit-learn's value / 16


def test_diabetes_is_as_it_was_measured() -> None:
    (block,) = ScikitLearn(name="diabetes", valid=0.1, test=0.2).blocks("all")
    assert (block.columns["age"][0], block.columns["bmi"][0], block.columns["progression"][0]) == (
        59,
        32.1,
        151,
    )


def test_classes_have_their_names() -> None:
    (block,) = ScikitLearn(name="breast_cancer", valid=0.1, test=0.2).blocks("all")
    names, counts = np.unique(block.columns["label"], return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {"benign": 357, "malignant": 212}


def test_size_and_fingerprint_come_without_importing_scikit_learn() -> None:
    program = """
import sys
from components.data import ScikitLearn
source = ScikitLearn(name="digits", valid=0.1, test=0.2)
source.sizes(), source.fingerprint(), source.splits()
assert not any(name.split(".")[0] in ("sklearn", "scipy", "jax") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_fingerprint_tells_sets_and_splits_apart() -> None:
    sources = [
        ScikitLearn(name="iris", valid=0.1, test=0.2),
        ScikitLearn(name="wine", valid=0.1, test=0.2),
        ScikitLearn(name="iris", valid=0.1, test=0.2, seed=1),
        ScikitLearn(name="iris", valid=0.1, test=0.2, stratify="label"),
    ]
    assert len({source.fingerprint() for source in sources}) == len(sources)


def test_an_unknown_data_set_raises_an_error_with_the_names_of_all() -> None:
    with pytest.raises(UserError, match=r"name: 'mnist' is no data set of scikit-learn. Allowed: breast_cancer"):
        ScikitLearn(name="mnist", valid=0.1, test=0.2)  # type: ignore[arg-type]


def test_an_unknown_column_to_stratify_by_raises_an_error_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"`stratify` \(=labels\) is no column. Did you mean label\?"):
        ScikitLearn(name="iris", valid=0.1, test=0.2, stratify="labels").splits()


def test_a_column_of_vectors_is_nothing_to_stratify_by() -> None:
    with pytest.raises(DataError, match="must be a column with one value in each row"):
        ScikitLearn(name="iris", valid=0.1, test=0.2, stratify="measurements").splits()
