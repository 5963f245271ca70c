"""Tables from CSV files."""

from components.data.csv.source import Csv as Csv
