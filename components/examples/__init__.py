"""Examples of several rows, windows of time series and pairs, and of two views of one row."""

from components.examples.pairs import Pairs as Pairs
from components.examples.views import Views as Views
from components.examples.windows import Windows as Windows
