"""Replaces the names of options inside a configuration by the parts that they name.

Wherever a part stands, the name of an option of its group may stand, alone or with values of parameters:
`loss: huber` or `loss: {option: huber, delta: 2}`. Where parts stand by name, a list of names may stand:
`metric: [accuracy, {option: top_k, k: 3}]`. And where a function stands, its dotted name may stand:
`activation: my_parts.swish`.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from components.closest import suggest_name
from components.types import UserError
from runner.config.catalog import EXPERIMENT, OPTION, Catalog, display_path, explain_missing_option
from runner.config.choices import check_key, load_yaml
from runner.config.config import OptionProblem
from runner.config.overrides import describe_clash
from runner.signature.parameters import hint_of_argument, read_parameter_hints
from runner.signature.schema import SCHEMA, option_groups, takes_function
from runner.signature.source import PartNotFoundError
from runner.signature.type_hints import element_hint, find_problems, format_value, part_kinds
from runner.tree import KeyPath, change_value, is_reference, join_path, merge_values

DOTTED_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


@dataclass
class Layer:
    """What one file or override sets, with the options that it names.

    Attributes:
        values: the values, with each option replaced by its part.
        own: the values that the file or override itself sets, without those of options.
        replaced: the places whose earlier values don't stay. All other values are merged with the earlier ones.
        contents: (place, values, origin) of the options' files. A later one replaces values of an earlier one.
        problems: the problem of each option that can't be loaded. Its place keeps the mapping with `option`.
        choices: the option, or list of options, of each group at the root that this layer chooses.
    """

    values: Any = None
    own: Any = None
    replaced: list[KeyPath] = field(default_factory=list)
    contents: list[tuple[KeyPath, Any, str]] = field(default_factory=list)
    problems: list[OptionProblem] = field(default_factory=list)
    choices: dict[str, Any] = field(default_factory=dict)

    @property
    def names_options(self) -> bool:
        """Whether the layer names an option or a function, right or wrong."""
        return bool(self.replaced or self.contents or self.problems)


class OptionReader:
    """Reads layers, and the options that they name.

    Args:
        catalog: the options that exist.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._hints: dict[str, dict[str, Any]] = {}

    def read(
        self, values: Mapping[str, Any], earlier: Mapping[str, Any], origin: str, override: str | None = None
    ) -> Layer:
        """Reads a layer of values.

        Args:
            values: plain values from the root of the configuration.
            earlier: the merged values of the earlier layers, in which `values` may set parameters of parts.
            origin: the origin of the values.
            override: the override whose values these are; None: they are those of a file.
        """
        layer = Layer()
        reading = _Reading(self, layer, origin, f", chosen by {override}" if override else "")
        layer.values, layer.own = reading.read(values, Any, (), earlier)
        return layer

    def load(self, group: str, name: str) -> dict[str, Any]:
        """The part of an option. Raises UserError if its file can't be read, or holds several parts or none."""
        path = self.catalog.files[group][name]
        content = load_yaml(path)
        check_key(content, group, name, path)
        if "_target_" in content:
            return content
        part = content.get(name, *content.values()) if len(content) == 1 else content.get(name)
        if not isinstance(part, dict):
            raise UserError(f"{display_path(path)}: the file holds no part. Write `_target_: NAME`.")
        return part

    def read_hints(self, target: Any) -> dict[str, Any]:
        """The type hints of a target's parameters; empty if they are unknown, or if there is no such target."""
        if not isinstance(target, str):
            return {}
        if target not in self._hints:
            self._hints[target] = {}
            with contextlib.suppress(PartNotFoundError):
                self._hints[target] = read_parameter_hints(target)
        return self._hints[target]


def clear_place(tree: Any, path: KeyPath) -> Any:
    """The tree with an empty mapping as the value at a path, if there is one. It keeps its position among its keys."""
    parent = functools.reduce(_get_child, path[:-1], tree)
    return change_value(tree, path, lambda _: {}) if _has_child(parent, path[-1]) else tree


def _get_child(value: Any, key: Any) -> Any:
    """The element of a mapping, or of a list by its index, which may be text; None: there is none."""
    return value[int(key) if isinstance(value, list) else key] if _has_child(value, key) else None


def _has_child(value: Any, key: Any) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and str(key).isdigit() and int(key) < len(value)


@dataclass(frozen=True)
class _Reading:
    """One pass over a layer, or over the content of an option's file. Its methods return pairs:

    the value with its options replaced by parts, and what the layer itself sets of it.

    Attributes:
        reader: loads options.
        layer: gets what is found.
        origin: the origin of the values that are read.
        chosen_by: the end of the origins of options' values.
        chain: the (group, option) whose content is read, the outermost first.
    """

    reader: OptionReader
    layer: Layer
    origin: str
    chosen_by: str
    chain: tuple[tuple[str, str], ...] = ()

    def read(self, value: Any, hint: Any, path: KeyPath, earlier: Any) -> tuple[Any, Any]:
        """Reads the value at a place. `earlier` is the value there of earlier layers."""
        hint = SCHEMA.get(join_path(path), hint) if len(path) <= 2 else hint
        if isinstance(value, str):
            return self._read_text(value, hint, path)
        if isinstance(value, list):
            return self._read_list(value, hint, path)
        return self._read_mapping(value, hint, path, earlier) if isinstance(value, dict) else (value, value)

    def _read_text(self, text: str, hint: Any, path: KeyPath) -> tuple[Any, Any]:
        """Reads the name of an option or a function. Other text is kept."""
        if is_reference(text) or text == "???" or not find_problems(text, hint, ""):
            return text, text
        if takes_function(hint) and DOTTED_NAME.fullmatch(text):
            self.layer.replaced.append(path)
            return {"_target_": text}, {"_target_": text}
        if option_groups(hint):
            return self._choose(text, {}, hint, path)
        return self._read_list([text], hint, path) if _named_groups(hint) else (text, text)

    def _read_list(self, value: list[Any], hint: Any, path: KeyPath) -> tuple[Any, Any]:
        """Reads a list of values, or the names of parts that stand by name."""
        if _named_groups(hint) and element_hint(hint, 0) is Any:
            self.layer.replaced.append(path)
            named = self._name_parts(value, path)
            self._record_choice(path, list(named))
            return self._read_elements(named, hint, None, path, None)
        if option_groups(hint) and element_hint(hint, 0) is Any and find_problems(value, hint, ""):
            return self._fail(value, f"{format_value(value)} is a list. {self._suggest_one(value, hint)}", path)
        pairs = [
            self.read(element, element_hint(hint, index), (*path, index), None) for index, element in enumerate(value)
        ]
        return [values for values, _ in pairs], [own for _, own in pairs]

    def _read_mapping(self, value: dict[str, Any], hint: Any, path: KeyPath, earlier: Any) -> tuple[Any, Any]:
        """Reads an option with values of parameters, parts by name, or values of a part or another mapping."""
        groups, named_groups = option_groups(hint), _named_groups(hint)
        earlier_target = earlier.get("_target_") if isinstance(earlier, dict) else None
        if OPTION in value:
            if groups:
                return self._read_option(value, hint, path)
            if named_groups and isinstance(value[OPTION], str):
                return self._read_list([value], hint, path)
            if part_kinds(hint) and "_target_" not in value and earlier_target is None:
                return self._fail(value, "there are no options here. Write `_target_`.", path)
        if groups and "_target_" in value and earlier_target is None and OPTION in (earlier or ()):
            self.layer.replaced.append(path)  # the earlier option is unknown
            earlier = None
        if groups and named_groups:
            is_by_name = self._are_parts_by_name(value, groups, earlier_target)
            if earlier and is_by_name != (earlier_target is None):
                self.layer.replaced.append(path)
                earlier = earlier_target = None
            if is_by_name:
                self._record_choice(path, [_name_option(part) or name for name, part in value.items()])
        return self._read_elements(value, hint, value.get("_target_", earlier_target), path, earlier)

    def _read_elements(
        self, value: dict[str, Any], hint: Any, target: Any, path: KeyPath, earlier: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads the values of a part's parameters, or with the target None those of another mapping."""
        if not any(map(_may_name_option, value.values())):
            return value, value
        hints = None if target is None else self.reader.read_hints(target)
        values, own = {}, {}
        for key, element in value.items():
            index = int(key) if isinstance(earlier, list) and str(key).isdigit() else key
            element_type = element_hint(hint, index) if hints is None else hint_of_argument(hints, key)
            values[key], own[key] = self.read(element, element_type, (*path, key), _get_child(earlier, key))
        return values, own

    def _read_option(self, value: dict[str, Any], hint: Any, path: KeyPath) -> tuple[Any, Any]:
        """Reads the mapping `{option: NAME, parameter: value, …}`."""
        if "_target_" in value:
            return self._fail(value, "has `option` and `_target_`. Leave one of them out.", path)
        name = value[OPTION]
        if not isinstance(name, str | int) or isinstance(name, bool):
            return self._fail(
                value, f"{format_value(name)} is not the name of an option. {self._list_options(hint)}", path
            )
        return self._choose(str(name), {key: element for key, element in value.items() if key != OPTION}, hint, path)

    def _choose(self, name: str, fields: dict[str, Any], hint: Any, path: KeyPath) -> tuple[Any, Any]:
        """The part of an option, with values of its parameters."""
        files = self.reader.catalog.files
        group = next((group for group in option_groups(hint) if name in files[group]), None)
        choice = {OPTION: name, **fields}
        if group is None:
            return self._fail(choice, self._describe_unknown(name, hint), path)
        chain = (*self.chain, (group, name))
        if (group, name) in self.chain:
            names = " > ".join(option for _, option in chain)
            return self._fail(choice, f"option {name} of {group} contains itself ({names})", path)
        try:
            part = self.reader.load(group, name)
        except UserError as error:
            return self._fail(choice, str(error), path)
        self._record_choice(path, name)
        self.layer.replaced.append(path)
        origin = display_path(files[group][name]) + self.chosen_by
        content, content_of_file = replace(self, origin=origin, chain=chain).read(part, hint, path, None)
        self.layer.contents.append((path, content_of_file, origin))
        count = len(self.layer.replaced)
        values, own = self._read_elements(fields, hint, content.get("_target_"), path, content)
        for place in self.layer.replaced[count:]:
            content = clear_place(content, place[len(path) :])
        if clash := describe_clash(content, values, join_path(path), by_number=True):
            return self._fail(choice, clash, path)
        return merge_values(content, values), own

    def _name_parts(self, value: list[Any], path: KeyPath) -> dict[str, Any]:
        """The parts of a list, each under the name of its option."""
        named: dict[str, Any] = {}
        for part in value:
            name = _name_option(part)
            if name is None:
                self._report(
                    f"{format_value(part)} has no name. Write a mapping instead of the list: {{NAME: PART}}.", path
                )
            elif name in named:
                remedy = f"Leave one out, or write a mapping: {{NAME: {{option: {name}}}}}."
                self._report(f"{name} is listed twice. {remedy}", path)
            else:
                named[name] = part
        return named

    def _are_parts_by_name(self, value: dict[str, Any], groups: Sequence[str], earlier_target: Any) -> bool:
        """Whether a mapping holds parts by name, where one part may stand too; if not, it sets parameters of it."""
        if "_target_" in value or earlier_target is None:
            return "_target_" not in value
        if self.reader.read_hints(earlier_target).keys() & value.keys():
            return False
        options = {name for group in groups for name in self.reader.catalog.files[group]}
        parts = (part for item in value.values() for part in (item if isinstance(item, list) else [item]))
        return any(
            bool({OPTION, "_target_"} & part.keys()) if isinstance(part, dict) else part in options
            for part in parts
            if isinstance(part, dict | str)
        )

    def _record_choice(self, path: KeyPath, options: Any) -> None:
        if len(path) == 1:
            self.layer.choices[str(path[0])] = options

    def _report(self, problem: str, path: KeyPath) -> None:
        self.layer.problems.append(OptionProblem(join_path(path), problem, self.origin))

    def _fail(self, value: dict[str, Any] | list[Any], problem: str, path: KeyPath) -> tuple[Any, Any]:
        """Reports a problem of an option, and keeps the value."""
        self._report(problem, path)
        self.layer.replaced.append(path)
        return value, value

    def _describe_unknown(self, name: str, hint: Any) -> str:
        groups = option_groups(hint)
        problem = f"unknown option {name or repr(name)} of {' or '.join(groups)}"
        for group, files in self.reader.catalog.files.items():
            if name in files and group != EXPERIMENT:
                problem = f"{name} is an option of {group}, not of {' or '.join(groups)}"
        missing = next(filter(None, (explain_missing_option(group, name) for group in groups)), None)
        if missing is None and DOTTED_NAME.fullmatch(name):
            missing = f"For a part of your own, write {{_target_: {name}}}."
        return f"{problem}. {missing or self._list_options(hint, name)}"

    def _suggest_one(self, value: list[Any], hint: Any) -> str:
        """What to write instead of a list where one part stands."""
        options = [option for group in option_groups(hint) for option in self.reader.catalog.files[group]]
        listed = [name for name in map(_name_option, value) if name in options]
        return f"Choose one option: {' or '.join(listed)}." if listed else f"Choose one. {self._list_options(hint)}"

    def _list_options(self, hint: Any, name: str = "") -> str:
        return suggest_name(
            name, [option for group in option_groups(hint) for option in self.reader.catalog.files[group]]
        )


def _named_groups(hint: Any) -> tuple[str, ...]:
    """The groups whose options may stand as the values of a mapping."""
    return option_groups(element_hint(hint, ""))


def _name_option(part: Any) -> str | None:
    """The name of the option that text or a mapping chooses; None: it chooses none."""
    name = part.get(OPTION) if isinstance(part, dict) else part
    return str(name) if isinstance(name, str | int) and not isinstance(name, bool) else None


def _may_name_option(value: Any) -> bool:
    """Whether a value holds text or a part, which may be an option or replace one. It spares reading signatures."""
    if isinstance(value, dict):
        return bool({OPTION, "_target_"} & value.keys()) or any(map(_may_name_option, value.values()))
    if isinstance(value, list):
        return any(map(_may_name_option, value))
    return isinstance(value, str)
