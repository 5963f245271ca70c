"""Feature columns: what becomes of raw columns before a model sees them."""

from components.feature.image import Image as Image
from components.feature.label import Label as Label
from components.feature.numeric import Numeric as Numeric
from components.feature.statistic import Distinct as Distinct
from components.feature.statistic import Extremes as Extremes
from components.feature.statistic import Moments as Moments
