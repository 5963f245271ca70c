"""The source for made hours of electric load, with daily, weekly and yearly periods."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from components.data.table import Table
from components.types import Range

VERSION = 1  # counts changes of the rows
FIRST_HOUR = np.datetime64("2019-01-01T00", "h")
HOLIDAYS = ("01-01", "01-06", "04-18", "05-01", "05-29", "08-15", "10-03", "11-01", "12-25", "12-26")  # month and day
HEATING, COOLING = 16.0, 21.0  # degrees below and above which the load grows
SEED = 0


@dataclass(frozen=True, kw_only=True)
class ElectricLoad(Table):
    """Hours of the electric load of a made town, from 2019 on. The same rows come each time, from fixed random numbers.

    The load has a trend, a profile of the day for working days, Saturdays, and Sundays with holidays, and light in
    dark evenings. Cold and hot weather add to it, more so by day. What remains is noise, which lasts some hours.
    The columns are:

    - `hour`, the start of the hour, without daylight saving time;
    - `temperature`, of the hour, in degrees Celsius to one decimal;
    - `holiday` and `holiday_tomorrow`, 1 if the day, or the next one, is a public holiday, else 0;
    - `load`, of the hour, in MW to one decimal.

    Attributes:
        years: the number of years of 365 days.
    """

    years: Annotated[int, Range(1, 100)] = 5
    valid: Annotated[float, Range(0, bounds="()")] | None = None
    test: Annotated[float, Range(0, bounds="()")] | None = None

    def content_digest(self) -> str:
        return f"electric load {VERSION}, {self.years} years"

    def sizes(self) -> Mapping[str, int]:
        return {"all": self.years * 365 * 24}

    def origin(self, part: str) -> str:
        """The name of the data set, for messages. The only part is `all`."""
        return "electric_load"

    def read(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        hours = FIRST_HOUR + np.arange(self.sizes()["all"]).astype("m8[h]")
        random = np.random.RandomState(SEED)  # NumPy never changes the numbers of this one
        temperature = _make_temperature(hours, random)
        holiday, tomorrow = _find_holidays(hours), _find_holidays(hours + np.timedelta64(24, "h"))
        load = _make_load(hours, temperature, holiday, random)
        columns = {"temperature": temperature.round(1), "holiday": holiday, "holiday_tomorrow": tomorrow}
        return {"all": {"hour": hours.astype("M8[s]"), **columns, "load": load.round(1)}}


def _make_load(
    hours: np.ndarray, temperature: np.ndarray, holiday: np.ndarray, random: np.random.RandomState
) -> np.ndarray:
    hour, days = _hour_of_day(hours), (hours - hours[0]).astype(float) / 24
    growth = 1 + 0.01 * days / 365
    awake = 1 / (1 + np.exp(-(hour - 6.5))) - 1 / (1 + np.exp(-(hour - 22.5)))  # the share of people
    felt = _smooth(temperature, 0.9)  # walls keep the temperature of some hours
    weather = 9 * np.maximum(HEATING - felt, 0) * (0.5 + 0.5 * awake) + 14 * np.maximum(felt - COOLING, 0) * awake
    noise = _draw_noise(random, len(hours), 15.0, 0.93) + random.normal(0, 5, len(hours))
    return growth * (_make_profile(hours, holiday) + 60 * _evening_light(hours) + weather) + noise


def _make_profile(hours: np.ndarray, holiday: np.ndarray) -> np.ndarray:
    """The load of the hour of a working day, a Saturday, or a Sunday or holiday, without weather."""
    hour = _hour_of_day(hours)
    day = (hours.astype("M8[D]").astype(int) + 3) % 7  # Monday is 0
    free = np.where((day == 6) | (holiday == 1), 2, np.where(day == 5, 1, 0))
    morning = np.array([320, 190, 120])[free] * _peak(hour, np.array([8.0, 10.0, 11.5])[free], 2.5)
    noon = np.array([260, 180, 140])[free] * _peak(hour, 13.5, 3.0)
    evening = np.array([280, 210, 230])[free] * _peak(hour, np.array([18.5, 19.0, 19.5])[free], 2.2)
    return 600 + morning + noon + evening


def _peak(hour: np.ndarray, center: np.ndarray | float, width: float) -> np.ndarray:
    return np.exp(-(((hour - center) / width) ** 2) / 2)


def _evening_light(hours: np.ndarray) -> np.ndarray:
    """The share of lamps that are on after sunset, which is at 16:30 in winter and 20:30 in summer."""
    hour = _hour_of_day(hours)
    sunset = 18.5 - 2 * np.cos(2 * np.pi * _share_of_year(hours))
    return 1 / (1 + np.exp(-2 * (hour - sunset))) * (hour < 23)


def _make_temperature(hours: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    hour, year = _hour_of_day(hours), 2 * np.pi * (_share_of_year(hours) - 0.05)
    daily = (3.5 - 1.5 * np.cos(year)) * -np.cos(2 * np.pi * (hour - 3) / 24)
    weather = _draw_noise(random, len(hours), 4.0, 0.985)  # lasts some days
    return 11 - 10 * np.cos(year) + daily + weather


def _find_holidays(hours: np.ndarray) -> np.ndarray:
    days = hours.astype("M8[D]")
    dates = np.array([str(day)[5:] for day in np.unique(days)])
    return np.isin(dates, HOLIDAYS)[np.unique(days, return_inverse=True)[1]].astype(np.int8)


def _hour_of_day(hours: np.ndarray) -> np.ndarray:
    return hours.astype(int) % 24


def _share_of_year(hours: np.ndarray) -> np.ndarray:
    days = (hours.astype("M8[D]") - hours.astype("M8[Y]")).astype(int)
    return days / 366


def _smooth(values: np.ndarray, keep: float) -> np.ndarray:
    """The exponential moving average, which keeps a share of the last one in each step."""
    return np.array([*itertools.accumulate(values.tolist(), lambda last, value: keep * last + (1 - keep) * value)])


def _draw_noise(random: np.random.RandomState, count: int, deviation: float, keep: float) -> np.ndarray:
    """Normal noise with this standard deviation, whose correlation with the last value is `keep`."""
    scale = deviation * np.sqrt(1 - keep**2) / (1 - keep)
    steps = random.normal(0, scale, count)
    steps[0] = random.normal(0, deviation)
    return _smooth(steps, keep)
