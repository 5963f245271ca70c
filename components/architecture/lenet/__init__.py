"""LeNet-5, as it is built today and as published in 1998."""

from components.architecture.lenet.lenet5 import LeNet5 as LeNet5
from components.architecture.lenet.lenet5 import LeNet5_1998 as LeNet5_1998
