"""Faster implementations of some operations: fixed rules of platform and shapes choose between them and XLA's own."""
