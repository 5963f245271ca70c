"""Files with a few rows, in the form of real data."""

import io
import tarfile
from pathlib import Path

import numpy as np

ROWS = 80
OCEAN = ("<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN")
HOUSING = """longitude latitude housing_median_age total_rooms total_bedrooms population households median_income
median_house_value ocean_proximity"""


def write_housing(path: Path) -> None:
    random = np.random.default_rng(0)
    lines = [",".join(HOUSING.split())]
    for row in range(ROWS):
        place = f"{random.uniform(-124, -114):.2f},{random.uniform(32, 42):.2f}"
        numbers = [f"{random.uniform(1, 50):.1f}" for _ in range(7)]
        numbers[2] = "" if row % 10 == 0 else numbers[2]  # total_bedrooms
        lines.append(f"{place},{','.join(numbers)},{OCEAN[row % 5]}")
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines))


def write_reviews(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        for part, rows in (("train", ROWS // 2), ("test", ROWS)):
            for row in range(rows):
                text = f"A {'good' if row % 2 else 'bad'} film, number {row}.<br />See it!".encode()
                entry = tarfile.TarInfo(f"aclImdb/{part}/{'pos' if row % 2 else 'neg'}/{row}_7.txt")
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text))
