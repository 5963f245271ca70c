"""Mergeable summaries of raw columns, which don't depend on how rows are cut into blocks, or on the order of merging.

Counts, extremes and histograms are exact, moments up to rounding in float64. Quantiles are exact until a column has
too many distinct values, then within a stated error. Numbers are summarized for each element of the last axis (a
vector's elements, an image's channels); a column of single numbers has one element.
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
