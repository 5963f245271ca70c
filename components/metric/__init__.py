"""Metrics of a whole split, computed from sums over its batches, or from the rows of all its examples.

The sums count elements: examples, labels of examples, or pixels if the target is an image of classes. With
`batch.weight`, an element counts as often as the weight of its example.
"""

from components.metric.classification import Accuracy as Accuracy
from components.metric.classification import LogLoss as LogLoss
from components.metric.classification import TopK as TopK
from components.metric.counts import F1 as F1
from components.metric.counts import BalancedAccuracy as BalancedAccuracy
from components.metric.counts import Matthews as Matthews
from components.metric.counts import MeanIoU as MeanIoU
from components.metric.counts import Precision as Precision
from components.metric.counts import Recall as Recall
from components.metric.ranking import AUC as AUC
from components.metric.ranking import AveragePrecision as AveragePrecision
from components.metric.reconstruction import ReconstructionError as ReconstructionError
from components.metric.regression import MAE as MAE
from components.metric.regression import R2 as R2
from components.metric.regression import RMSE as RMSE
