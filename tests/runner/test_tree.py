"""The references between values of a configuration."""

from __future__ import annotations

import pytest

from runner.tree import resolve_references


@pytest.mark.parametrize("order", ["abc", "bca", "acb"])
def test_references_to_a_broken_value_are_kept_in_any_order(order: str) -> None:
    nodes = {"a": "${b}", "b": {"x": "${nowhere}", "y": 1}, "c": "${b}"}
    tree = {key: nodes[key] for key in order}
    values, problems = resolve_references(tree)
    assert values == tree
    assert "b.x" in problems
