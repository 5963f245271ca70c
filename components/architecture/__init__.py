"""Networks: Flax modules from inputs to an `Output`; how many outputs they have is for the loss to say."""

from components.architecture.fashion_cnn import FashionCNN as FashionCNN
from components.architecture.lenet5 import LeNet5 as LeNet5
from components.architecture.mlp import MLP as MLP
from components.architecture.sequential import Sequential as Sequential
from components.architecture.wide_deep import WideDeep as WideDeep
