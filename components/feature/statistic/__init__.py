"""Statistics of columns: mergeable summaries, whose results don't depend on the blocks or on the order of merging.

Counts, extremes and histograms are exact; moments are exact up to rounding in float64. Quantiles are exact up to a
number of distinct values, and beyond it have a bounded error. Numbers are summarized for each element of the last axis,
such as each element of a vector or each channel of an image. A column of single numbers has one element.
"""

from components.feature.statistic.classes import ByClass as ByClass
from components.feature.statistic.classes import Distinct as Distinct
from components.feature.statistic.distribution import Distribution as Distribution
from components.feature.statistic.distribution import Histogram as Histogram
from components.feature.statistic.distribution import Quantiles as Quantiles
from components.feature.statistic.elements import Key as Key
from components.feature.statistic.elements import Numerical as Numerical
from components.feature.statistic.moments import Covariance as Covariance
from components.feature.statistic.moments import CovarianceResult as CovarianceResult
from components.feature.statistic.moments import Extremes as Extremes
from components.feature.statistic.moments import Moments as Moments
from components.feature.statistic.moments import MomentSums as MomentSums
from components.feature.statistic.moments import OffsetScale as OffsetScale
from components.feature.statistic.moments import Summary as Summary
from components.feature.statistic.moments import SummaryResult as SummaryResult
from components.feature.statistic.moments import find_principal_components as find_principal_components
