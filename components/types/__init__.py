"""The types and protocols that parts share.

This package imports neither JAX nor NumPy, because checking a configuration must not wait for them.
"""

from components.types.base import Clock as Clock
from components.types.base import DataError as DataError
from components.types.base import Duration as Duration
from components.types.base import Range as Range
from components.types.base import Scalar as Scalar
from components.types.base import UserError as UserError
from components.types.column import Column as Column
from components.types.column import Constants as Constants
from components.types.column import EncodingWarnings as EncodingWarnings
from components.types.column import ReadsFiles as ReadsFiles
from components.types.column import StatelessEncode as StatelessEncode
from components.types.column import Statistic as Statistic
from components.types.column import Target as Target
from components.types.data import Block as Block
from components.types.data import Encoded as Encoded
from components.types.data import Foldable as Foldable
from components.types.data import Ragged as Ragged
from components.types.data import Source as Source
from components.types.data import Strings as Strings
from components.types.data import Values as Values
from components.types.data import row_count as row_count
from components.types.model import Batch as Batch
from components.types.model import BoundTarget as BoundTarget
from components.types.model import MultiHot as MultiHot
from components.types.model import Output as Output
from components.types.model import Padded as Padded
from components.types.model import register_pytrees as register_pytrees
from components.types.profile import ColumnProfile as ColumnProfile
from components.types.profile import ColumnType as ColumnType
from components.types.profile import OddTexts as OddTexts
from components.types.profile import Profiled as Profiled
from components.types.profile import TableProfile as TableProfile
from components.types.profile import TextKind as TextKind
from components.types.training import Augmentation as Augmentation
from components.types.training import Constraint as Constraint
from components.types.training import Loss as Loss
from components.types.training import Metric as Metric
from components.types.training import Plateau as Plateau
from components.types.training import Regularizer as Regularizer
from components.types.training import Schedule as Schedule
from components.types.training import Weights as Weights
