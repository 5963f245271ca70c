"""Examples of several rows: windows of time series, and pairs."""

from components.examples.pairs import Pairs as Pairs
from components.examples.windows import Windows as Windows
