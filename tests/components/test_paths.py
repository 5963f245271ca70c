"""Patterns over paths of parameters."""

import re

import hypothesis
import jax.numpy as jnp
import pytest
from hypothesis import strategies as st

from components.paths import check_patterns, leaves_with_paths, map_matching, matches
from components.types import UserError


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("head", "head"),
        ("head", "head/kernel"),
        ("head/kernel", "head/kernel"),
        ("stage_4*", "stage_4_block_0/conv/kernel"),
        ("stage_*_block_0", "stage_12_block_0/conv/kernel"),
        ("*/kernel", "head/kernel"),
        ("**/kernel", "kernel"),
        ("**/kernel", "stage_1/conv/kernel"),
        ("wide/**", "wide/kernel"),
        ("wide/**", "wide/dense/kernel"),
        ("wide/**/kernel", "wide/kernel"),
        ("wide/**/kernel", "wide/a/b/kernel"),
        ("**", "a/b"),
        ("*", "a/b"),
        ("a/**/b/*", "a/x/y/b/c"),
        ("price.usd", "price.usd/kernel"),
    ],
)
def test_a_pattern_names_a_path_or_a_module_above_it(pattern: str, path: str) -> None:
    assert matches(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("head", "heads/kernel"),
        ("head", "a/head/kernel"),
        ("kernel", "head/kernel"),
        ("*/kernel", "a/b/kernel"),
        ("stage*kernel", "stage_1/kernel"),
        ("**/kernel", "head/kernels"),
        ("wide/**/kernel", "wide/bias"),
        ("wide/**", "wider/kernel"),
        ("a.b", "acb"),
        ("price", "price.usd/kernel"),
    ],
)
def test_a_pattern_names_nothing_else(pattern: str, path: str) -> None:
    assert not matches(pattern, path)


PATTERN = st.lists(st.sampled_from(["a", "b", "*", "**", "a*", "*b"]), min_size=1, max_size=4)
PATH = st.lists(st.sampled_from(["a", "b", "ab", "ba"]), min_size=1, max_size=5)


@hypothesis.given(PATTERN, PATH)
def test_a_pattern_matches_as_its_definition_says(pattern: list[str], path: list[str]) -> None:
    def names(pattern: list[str], path: list[str]) -> bool:
        if not pattern:
            return True  # everything below is covered
        first, *rest = pattern
        if first == "**":
            return any(names(rest, path[count:]) for count in range(len(path) + 1))
        expression = re.escape(first).replace(r"\*", ".*")
        return bool(path) and re.fullmatch(expression, path[0]) is not None and names(rest, path[1:])

    assert matches("/".join(pattern), "/".join(path)) == names(pattern, path)


def test_names_end_at_the_separators() -> None:
    assert matches("AuxLogits", "AuxLogits.fc.weight", separators="./")
    assert matches("features.*.bias", "features.12.bias", separators="./")
    assert not matches("features.*", "features", separators="./")
    assert not matches("AuxLogits", "AuxLogits.fc.weight")


def test_a_star_may_cross_names() -> None:
    assert matches("stage*kernel", "stage_1/conv/kernel", crosses=True)
    assert matches("*.bias", "features.12.bias", separators="./", crosses=True)
    assert matches("he*", "head/kernel", crosses=True)
    assert not matches("*/norm", "norm/scale", crosses=True)
    assert not matches("*norm", "norms/scale", crosses=True)


def test_paths_of_a_tree() -> None:
    tree = {"b": {"kernel": jnp.ones(1)}, "a": jnp.zeros(2)}
    assert [(path, leaf.shape) for path, leaf in leaves_with_paths(tree)] == [("a", (2,)), ("b/kernel", (1,))]


def test_a_function_is_applied_to_the_matching_leaves() -> None:
    tree = {"b": {"kernel": 1, "bias": 2}, "a": {"kernel": 3}}
    found = map_matching(lambda path, leaf: (path, leaf), tree, ["b/kernel", "a"], default=[])
    assert found == {"b": {"kernel": ("b/kernel", 1), "bias": 2}, "a": {"kernel": ("a/kernel", 3)}}


def test_each_of_the_given_patterns_and_one_of_the_default_need_a_match() -> None:
    tree = {"a": {"bias": 1}}
    assert map_matching(lambda path, leaf: -leaf, tree, None, default=["**/kernel", "a"]) == {"a": {"bias": -1}}
    with pytest.raises(UserError, match=r"no parameter is a kernel, so it would change nothing\. Parameters: a/bias\."):
        map_matching(lambda path, leaf: -leaf, tree, None, default=["**/kernel"])
    with pytest.raises(UserError, match=r"no parameter matches the pattern \*\*/kernel\. Parameters: a/bias\."):
        map_matching(lambda path, leaf: -leaf, tree, ["**/kernel"], default=["a"])


def test_an_error_suggests_the_nearest_path() -> None:
    with pytest.raises(UserError, match=r"pattern head/kernels\. Did you mean head/kernel\? Parameters: body/b"):
        check_patterns(["body", "head/kernels"], ["body/bias", "head/kernel"])


@pytest.mark.parametrize(
    ("pattern", "suggestion"),
    [
        ("dense_*", "architecture/dense_*"),
        ("gate/bias", "architecture/tower/gate/bias"),
        ("kernel", "**/kernel"),
    ],
)
def test_an_error_completes_a_pattern_that_matches_below_a_module(pattern: str, suggestion: str) -> None:
    paths = [f"architecture/{name}" for name in ("dense_0/kernel", "dense_1/kernel", "tower/gate/bias")]
    with pytest.raises(UserError, match=re.escape(f"the pattern {pattern}. Did you mean {suggestion}? Parameters: ")):
        check_patterns([pattern], paths)
