"""Feature columns: what becomes of raw columns before a model sees them."""

from components.feature.bucketized import Bucketized as Bucketized
from components.feature.crossed import Crossed as Crossed
from components.feature.embedding import Embedding as Embedding
from components.feature.example_weight import ExampleWeight as ExampleWeight
from components.feature.hashed import Hashed as Hashed
from components.feature.identity import Identity as Identity
from components.feature.image import Image as Image
from components.feature.image import ImageTarget as ImageTarget
from components.feature.indicator import Indicator as Indicator
from components.feature.label import Label as Label
from components.feature.labels import Labels as Labels
from components.feature.numeric import Numeric as Numeric
from components.feature.principal import PrincipalComponents as PrincipalComponents
from components.feature.statistic import Covariance as Covariance
from components.feature.statistic import Distinct as Distinct
from components.feature.statistic import Extremes as Extremes
from components.feature.statistic import Histogram as Histogram
from components.feature.statistic import Moments as Moments
from components.feature.statistic import Quantiles as Quantiles
from components.feature.statistic import Summary as Summary
from components.feature.time import Time as Time
from components.feature.time import TimePart as TimePart
from components.feature.tokens import Tokens as Tokens
from components.feature.tokens import WordCount as WordCount
from components.feature.vocabulary import Vocabulary as Vocabulary
from components.feature.weighted import Weighted as Weighted
