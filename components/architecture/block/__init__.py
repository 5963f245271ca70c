"""Blocks and base classes that several architectures share."""
