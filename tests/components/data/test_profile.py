"""Facts about the columns of a table."""

from pathlib import Path

import numpy as np
import pytest

from components.data import Csv
from components.data.profile import Profile, skewness
from components.types import ColumnType, Strings, Values


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
    ("values", "is_prose"),
    [
        (texts("a film of the year", "one more of these films", ""), True),
        (texts("North", "South West"), False),
        (texts("", ""), False),
        (np.zeros(2), False),
    ],
)
def test_prose_has_several_words(values: Values, is_prose: bool) -> None:
    assert of(values, "string" if isinstance(values, Strings) else "float").is_prose == is_prose
