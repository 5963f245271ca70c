"""The made hours of electric load: their periods, weather and holidays, which are always the same."""

import numpy as np

from components.data import ElectricLoad


def read(years: int = 2) -> dict[str, np.ndarray]:
    (*blocks,) = ElectricLoad(years=years).blocks("all")
    return {name: np.concatenate([block.columns[name] for block in blocks]) for name in blocks[0].columns}


COLUMNS = read()
DAYS = COLUMNS["load"].reshape(-1, 24)


def test_there_is_a_row_for_each_hour() -> None:
    hours = COLUMNS["hour"]
    assert hours[0] == np.datetime64("2019-01-01T00")
    assert set(np.diff(hours)) == {np.timedelta64(3600, "s")}
    assert {len(values) for values in COLUMNS.values()} == {ElectricLoad(years=2).sizes()["all"]} == {2 * 365 * 24}


def test_the_rows_never_change() -> None:
    assert COLUMNS["load"][:3].tolist() == [660.7, 670.5, 671.0]
    assert COLUMNS["temperature"][:3].tolist() == [0.6, 0.6, 1.0]
    assert np.array_equal(read()["load"], COLUMNS["load"])


def test_the_load_has_daily_weekly_and_yearly_periods() -> None:
    centered = COLUMNS["load"] - COLUMNS["load"].mean()

    def correlate(hours: int) -> float:
        return float(np.corrcoef(centered[hours:], centered[:-hours])[0, 1])

    assert correlate(24) > correlate(12) + 0.5
    assert correlate(168) > correlate(120)
    weekdays = (COLUMNS["hour"].astype("M8[D]").astype(int)[::24] + 3) % 7
    by_weekday = [DAYS[weekdays == day].mean() for day in range(7)]
    assert by_weekday[6] < by_weekday[5] < min(by_weekday[:5])
    assert DAYS[:59].mean() > DAYS[90:150].mean(), "winter is colder than spring"


def test_holidays_have_the_load_of_a_sunday() -> None:
    is_holiday = COLUMNS["holiday"].reshape(-1, 24)[:, 0] == 1
    assert is_holiday.sum() == 20
    assert COLUMNS["holiday_tomorrow"][:-24].tolist() == COLUMNS["holiday"][24:].tolist()
    assert DAYS[is_holiday].mean() < DAYS[~is_holiday].mean() - 50


def test_the_forecast_is_not_trivial() -> None:
    """Neither the day nor the week before tells the load but for some percent."""
    load = COLUMNS["load"]
    for hours in (24, 168):
        assert 0.03 < np.abs(load[hours:] - load[:-hours]).mean() / load.mean() < 0.08
