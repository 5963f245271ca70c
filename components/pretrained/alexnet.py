"""Naming schemes of AlexNet."""

from __future__ import annotations

from components.pretrained.naming import IMAGENET, NamingScheme, Rule

CONVOLUTIONS = (0, 3, 6, 8, 10)  # numbers of the convolutions in torchvision, which numbers ReLU and pooling too

NAMING_SCHEMES = (
    NamingScheme(
        "torchvision",
        (
            *(Rule(f"conv_{n}", f"features.{number}") for n, number in enumerate(CONVOLUTIONS)),
            Rule("dense_0", "classifier.1", flattened_conv="conv_4"),
            Rule("dense_1", "classifier.4"),
            Rule("head", "classifier.6"),
        ),
        required_fields=({"normalization": None, "strides": (4, 1), "paddings": (2, 2), "ceil_mode": False},),
        image=IMAGENET,
    ),
)
