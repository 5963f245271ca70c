"""Layers: Flax modules that are called as `layer(x, train=…)`. Fields of the type `Scalar` may be traced.

A layer computes in the dtype of its input. Its parameters are float32. Images are (B, H, W, C).
"""

from components.layer.activation import Activation as Activation
from components.layer.activation import ActivationFunction as ActivationFunction
from components.layer.activation import ActivationName as ActivationName
from components.layer.activation import PReLU as PReLU
from components.layer.activation import activate as activate
from components.layer.composite import Branches as Branches
from components.layer.composite import Repeat as Repeat
from components.layer.composite import Residual as Residual
from components.layer.composite import WeightNorm as WeightNorm
from components.layer.conv_1d import Conv1D as Conv1D
from components.layer.convolution import Conv as Conv
from components.layer.convolution import ConvNorm as ConvNorm
from components.layer.convolution import DepthwiseConv as DepthwiseConv
from components.layer.convolution import SeparableConv as SeparableConv
from components.layer.dense import Dense as Dense
from components.layer.dense import Flatten as Flatten
from components.layer.dropout import AlphaDropout as AlphaDropout
from components.layer.dropout import Dropout as Dropout
from components.layer.dropout import GaussianDropout as GaussianDropout
from components.layer.dropout import GaussianNoise as GaussianNoise
from components.layer.dropout import Rate as Rate
from components.layer.dropout import StochasticDepth as StochasticDepth
from components.layer.inception import Inception as Inception
from components.layer.initializer import Constant as Constant
from components.layer.initializer import Initializer as Initializer
from components.layer.initializer import InitializerName as InitializerName
from components.layer.initializer import Normal as Normal
from components.layer.initializer import Orthogonal as Orthogonal
from components.layer.initializer import TruncatedNormal as TruncatedNormal
from components.layer.initializer import Uniform as Uniform
from components.layer.initializer import get_initializer as get_initializer
from components.layer.normalization import BatchNorm as BatchNorm
from components.layer.normalization import Epsilon as Epsilon
from components.layer.normalization import GroupNorm as GroupNorm
from components.layer.normalization import LayerNorm as LayerNorm
from components.layer.normalization import LocalResponseNorm as LocalResponseNorm
from components.layer.normalization import Momentum as Momentum
from components.layer.normalization import RMSNorm as RMSNorm
from components.layer.pooling import AveragePool as AveragePool
from components.layer.pooling import DepthwiseMaxPool as DepthwiseMaxPool
from components.layer.pooling import GlobalAveragePool as GlobalAveragePool
from components.layer.pooling import GlobalMaxPool as GlobalMaxPool
from components.layer.pooling import MaxPool as MaxPool
from components.layer.squeeze_excite import SqueezeExcite as SqueezeExcite
