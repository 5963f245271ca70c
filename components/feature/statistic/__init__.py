"""Mergeable summaries of raw columns: the same however rows are cut into blocks, and blocks merged.

Counts, extremes and histograms are so exactly, moments up to rounding in float64, quantiles exactly until a column has
too many distinct values, and then within a stated error. Numbers are summarized for each element of the last axis (a
vector's elements, an image's channels); a column of single numbers has one.
"""

from components.feature.statistic.classes import ByKey as ByKey
from components.feature.statistic.classes import Distinct as Distinct
from components.feature.statistic.distribution import Distribution as Distribution
from components.feature.statistic.distribution import Histogram as Histogram
from components.feature.statistic.distribution import Quantiles as Quantiles
from components.feature.statistic.elements import Key as Key
from components.feature.statistic.elements import Numerical as Numerical
from components.feature.statistic.moments import Covariance as Covariance
from components.feature.statistic.moments import Extremes as Extremes
from components.feature.statistic.moments import Figures as Figures
from components.feature.statistic.moments import Joint as Joint
from components.feature.statistic.moments import Moments as Moments
from components.feature.statistic.moments import OffsetScale as OffsetScale
from components.feature.statistic.moments import Summary as Summary
from components.feature.statistic.moments import Sums as Sums
from components.feature.statistic.moments import find_principal_components as find_principal_components
