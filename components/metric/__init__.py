"""Metrics of a whole split, computed from sums over its batches, or from the rows of all its examples.

The sums count elements: examples, labels of examples, or pixels if the target is an image of classes. With
`batch.weight`, an element counts as often as the weight of its example.
"""

from components.metric.agreement import BalancedAccuracy as BalancedAccuracy
from components.metric.agreement import CohenKappa as CohenKappa
from components.metric.agreement import Matthews as Matthews
from components.metric.agreement import MeanIoU as MeanIoU
from components.metric.classification import Accuracy as Accuracy
from components.metric.classification import TopK as TopK
from components.metric.classification import TopKError as TopKError
from components.metric.explained import R2 as R2
from components.metric.explained import Spearman as Spearman
from components.metric.operating_point import PrecisionAtRecall as PrecisionAtRecall
from components.metric.operating_point import RecallAtPrecision as RecallAtPrecision
from components.metric.operating_point import SensitivityAtSpecificity as SensitivityAtSpecificity
from components.metric.operating_point import SpecificityAtSensitivity as SpecificityAtSensitivity
from components.metric.probability import BrierScore as BrierScore
from components.metric.probability import ExpectedCalibrationError as ExpectedCalibrationError
from components.metric.probability import LogLoss as LogLoss
from components.metric.ranking import AUC as AUC
from components.metric.ranking import AveragePrecision as AveragePrecision
from components.metric.ratios import F1 as F1
from components.metric.ratios import FBeta as FBeta
from components.metric.ratios import IoU as IoU
from components.metric.ratios import Precision as Precision
from components.metric.ratios import Recall as Recall
from components.metric.ratios import Specificity as Specificity
from components.metric.reconstruction import ReconstructionError as ReconstructionError
from components.metric.regression import MAE as MAE
from components.metric.regression import RMSE as RMSE
from components.metric.regression import QuantileLoss as QuantileLoss
from components.metric.unit import MAPE as MAPE
from components.metric.unit import LogCosh as LogCosh
from components.metric.unit import PoissonDeviance as PoissonDeviance
from components.metric.views import ContrastiveAccuracy as ContrastiveAccuracy
