"""Facts about the columns of a table."""

from pathlib import Path

import numpy as np
import pytest

from components.data import Csv
from components.data.profile import Profile, skewness
from components.types import ColumnType, NonNumbers, Strings, TextKind, Values


def profiles(tmp_path: Path, text: str, **options: object) -> dict[str, Profile]:
    (tmp_path / "table.csv").write_text(text)
    table = Csv(path=str(tmp_path / "table.csv"), **options).profile()  # type: ignore[arg-type]
    assert table.origin == str(tmp_path / "table.csv")
    return {column.name: column for column in table.columns}  # type: ignore[misc]


def of(values: Values, kind: ColumnType = "float", valid: np.ndarray | None = None) -> Profile:
    return Profile("x", kind, False, values, valid, lambda row: f"row {row}", dict)


def texts(*values: str) -> Strings:
    return Strings.from_bytes([value.encode() for value in values])


def test_counts_and_places(tmp_path: Path) -> None:
    found = profiles(tmp_path, "a,b,c\n1,x,inf\nNA,,2\n,x,\n3,y,4\n", types={"b": "string"})
    a, b, c = found.values()
    assert [(column.kind, column.is_type_declared) for column in (a, b, c)] == [
        ("int", False),
        ("string", True),
        ("float", False),
    ]
    assert [column.rows for column in (a, b, c)] == [4, 4, 4]
    assert [(column.missing_count, column.distinct_count) for column in (a, b, c)] == [(2, 2), (1, 2), (1, None)]
    assert a.missing_spellings == {"NA": 1}
    assert b.first_missing_location == f"{tmp_path / 'table.csv'}, line 3"
    assert (c.infinite_count, c.first_infinite_location) == (1, f"{tmp_path / 'table.csv'}, line 2")
    assert (a.minimum, a.maximum, a.median, a.is_constant) == (1, 3, 2, False)


def test_numbers() -> None:
    tail = of(np.array([0.0] * 9 + [1000]))
    assert tail.skewness == pytest.approx(skewness(tail.numbers)) == pytest.approx(2.667, abs=1e-3)
    far = of(10**17 + np.array([0] * 9 + [1000]), "int")
    assert far.is_far_from_zero
    assert far.skewness == tail.skewness
    assert of(np.array([2.0, 2.0])).is_constant
    assert of(np.array([2.0, 2.0])).skewness == 0
    assert of(np.array([1.0, 2.0, 2.0, 0.0]), valid=np.array([True, True, True, False])).distinct_count == 2
    assert of(np.array([3, 4, 3, 5, 5])).rarest_value == ("4", 1)
    days = np.array(["2020-01-01T00:00", "2020-01-02T00:00"], "datetime64[us]")
    assert not of(days, "timestamp").has_time_of_day
    assert of(days + np.timedelta64(1, "h"), "timestamp").has_time_of_day


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("1,5", "2", ""), TextKind("numbers", "1,5")),
        (("1,000.5", "2,000"), TextKind("numbers", "1,000.5")),
        (("1/2/2020", "", "3/4/2021"), TextKind("dates", "1/2/2020")),
        (("a film of the year", "one more of these films"), TextKind("prose", "a film of the year")),
        (("North", "South"), TextKind("names", "North")),
        (("1", "2"), TextKind("names", "1")),
    ],
)
def test_the_kind_of_texts_is_found(values: tuple[str, ...], kind: TextKind) -> None:
    assert of(texts(*values), "string").text_kind == kind


def test_texts_among_numbers() -> None:
    strings = texts("1", "x", "2", "y", "")._replace(indices=np.array([0, 2, 1, 0, 2, 3, 1, 0]))
    assert of(strings, "string").non_numbers == NonNumbers(3, "row 2", ("x", "y"))
    assert of(texts("1", "2"), "string").non_numbers is None
    assert of(texts("x", "2"), "string").non_numbers is None
    assert of(np.zeros(2)).non_numbers is None
    assert of(np.zeros(2)).text_kind is None
