"""Losses: one float32 value for each example, or for each pixel. The program weighs and averages them."""

from components.loss.binary import BinaryCrossEntropy as BinaryCrossEntropy
from components.loss.binary import BinaryFocal as BinaryFocal
from components.loss.binary import Hinge as Hinge
from components.loss.binary import SquaredHinge as SquaredHinge
from components.loss.classification import CategoricalHinge as CategoricalHinge
from components.loss.classification import Focal as Focal
from components.loss.classification import GeneralizedCrossEntropy as GeneralizedCrossEntropy
from components.loss.classification import KLDivergence as KLDivergence
from components.loss.classification import LeNet5_1998 as LeNet5_1998
from components.loss.classification import OrdinalCrossEntropy as OrdinalCrossEntropy
from components.loss.classification import SoftmaxCrossEntropy as SoftmaxCrossEntropy
from components.loss.distillation import Distillation as Distillation
from components.loss.embedding import Contrastive as Contrastive
from components.loss.embedding import NTXent as NTXent
from components.loss.embedding import SupervisedContrastive as SupervisedContrastive
from components.loss.embedding import Triplet as Triplet
from components.loss.regression import MAE as MAE
from components.loss.regression import MAPE as MAPE
from components.loss.regression import MSE as MSE
from components.loss.regression import MSLE as MSLE
from components.loss.regression import CosineSimilarity as CosineSimilarity
from components.loss.regression import Huber as Huber
from components.loss.regression import LogCosh as LogCosh
from components.loss.regression import Pinball as Pinball
from components.loss.regression import Poisson as Poisson
from components.loss.weighted_sum import WeightedSum as WeightedSum
