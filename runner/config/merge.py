"""Merges files and overrides into one tree, and keeps the origin of each value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from components.types import UserError
from runner.config.catalog import EXPERIMENT, OPTION, RUN_YAML, display_path
from runner.config.choices import Choices, File, load_yaml
from runner.config.config import OptionProblem
from runner.config.options import Layer, OptionReader, clear_place
from runner.config.overrides import apply_override, describe_clash, override_origin
from runner.signature.schema import SCHEMA
from runner.tree import merge_values

GROUPS_OF_PARTS = {key.partition(".")[0] for key in SCHEMA}


class MergedTree:
    """A tree of values into which files and overrides are merged, one layer after another.

    Args:
        reader: reads the options that a layer names.
        values: the values of the first layer.
        settings: the values of the first layer with their origins.

    Attributes:
        values: the merged plain values, with references as text. A merge makes new ones and changes none.
        settings: (key, value, origin) in the order of merging.
        problems: the problems of layers that can't be merged.
        option_problems: the problems of options that can't be loaded, by the key of their place.
        choices: the options that layers choose for groups at the root.
    """

    def __init__(self, reader: OptionReader, values: dict[str, Any], settings: Sequence[tuple[str, Any, str]]) -> None:
        self._reader = reader
        self.values = values
        self.settings = list(settings)
        self.problems: list[str] = []
        self.option_problems: list[OptionProblem] = []
        self.choices: dict[str, Any] = {}

    def copy(self) -> MergedTree:
        """A copy that can be changed."""
        copied = MergedTree(self._reader, self.values, self.settings)
        copied.problems, copied.option_problems = [*self.problems], [*self.option_problems]
        copied.choices = dict(self.choices)
        return copied

    def merge_values(self, values: Mapping[str, Any], origin: str) -> None:
        """Merges values without options."""
        self.values = merge_values(self.values, dict(values))
        self.settings.append(("", dict(values), origin))

    def merge_options(self, options: Mapping[str, Any], origin: str) -> None:
        """Merges options by their places below groups, such as `loss.price`."""
        tree: dict[str, dict[str, Any]] = {}
        for place, option in options.items():
            group, _, name = place.partition(".")
            tree.setdefault(group, {})[name] = option
        if tree:
            self._merge_layer(self._reader.read(tree, self.values, origin), origin)

    def merge_files(self, choices: Choices) -> None:
        """Merges the files of the chosen options in their order. A file that can't be merged is a problem."""
        for chosen_file in choices.files:
            origin = chosen_file.origin or display_path(chosen_file.path)
            self._merge_layer(self._read_file(chosen_file, origin, choices), origin)

    def apply_settings(self, settings: Sequence[Override]) -> None:
        """Applies the settings of the command line.

        Those that choose parts come first, so that other settings find the parameters of the parts: outer ones before
        inner ones. The others are applied in their order. The last one of a key counts.
        """
        waiting = dict(enumerate(settings))
        choosing = [position for position, setting in waiting.items() if _may_choose_part(setting)]
        choosing.sort(key=lambda position: _place(settings[position]).count("."))
        chosen_at: dict[str, int] = {}  # the position of the last setting that chooses the part of a place
        is_changed = True
        while is_changed:  # a part may have parameters that take parts
            is_changed = False
            for position in choosing:
                if position not in waiting:
                    continue
                setting = settings[position]
                lists = (n for n in waiting if n < position and isinstance(waiting[n].value(), list))
                for owner in [n for n in lists if _is_below(setting, waiting[n].key_or_group)]:
                    self._apply_plain(waiting.pop(owner))
                if self._choose_part(setting):
                    del waiting[position]
                    chosen_at[_place(setting)] = max(position, chosen_at.get(_place(setting), 0))
                    is_changed = True
        for position, setting in waiting.items():
            sets_parameters = isinstance(setting.value(), dict) and not setting.is_delete()
            if sets_parameters or position >= chosen_at.get(setting.key_or_group, 0):
                self._apply_plain(setting)

    def _apply_plain(self, setting: Override) -> None:
        """Applies a setting that names no options."""
        try:
            self.values = apply_override(self.values, setting)
        except UserError as error:
            self.problems.append(str(error))
        if setting.is_delete() or not isinstance(setting.value(), dict):
            self._forget_problems(setting.key_or_group)
        self.settings.append((setting.key_or_group, setting.value(), override_origin(setting)))

    def _choose_part(self, setting: Override) -> bool:
        """Applies a setting if it chooses a part by an option or a target. Returns whether it does."""
        nested: Any = setting.value()
        chooses_target = setting.key_or_group.endswith("._target_") or (
            isinstance(nested, dict) and "_target_" in nested
        )
        for key in reversed(setting.key_or_group.split(".")):
            nested = {key: nested}
        origin = override_origin(setting)
        layer = self._reader.read(nested, self.values, origin, str(setting.input_line))
        if layer.names_options:
            self._merge_layer(layer, origin)
        elif chooses_target:
            self._apply_plain(setting)
        return layer.names_options or chooses_target

    def _read_file(self, file: File, origin: str, choices: Choices) -> Layer:
        """Reads the layer of a file.

        Options of an experiment are left out in groups whose option the command line chooses.
        """
        values = file.content if file.group == EXPERIMENT else {file.group: file.content}
        layer = self._reader.read(values, self.values, origin)
        chosen = {str(place[0]) for place in layer.replaced if len(place) == 1}
        if file.group == EXPERIMENT and (left_out := chosen & choices.chosen_on_command_line):
            values = {key: value for key, value in values.items() if key not in left_out}
            return self._reader.read(values, self.values, origin)
        return layer

    def _merge_layer(self, layer: Layer, origin: str) -> None:
        for place in layer.replaced:
            self.values = clear_place(self.values, place)
            self._forget_problems(".".join(map(str, place)))
        self.settings += [(".".join(map(str, place)), content, of_file) for place, content, of_file in layer.contents]
        self.settings.append(("", layer.own, origin))
        self.option_problems += layer.problems
        self.choices |= layer.choices
        if clash := describe_clash(self.values, layer.values, by_number=layer.names_options):
            self.problems.append(f"{origin}: {clash}")
        else:
            self.values = merge_values(self.values, layer.values)

    def _forget_problems(self, key: str) -> None:
        """Removes the problems of options at a key whose value is replaced, or below it."""
        self.option_problems = [
            problem for problem in self.option_problems if not f"{problem.key}.".startswith(f"{key}.")
        ]


def start_tree(reader: OptionReader, choices: Choices) -> MergedTree:
    """The tree of `conf/run.yaml`. A group without other values has the origin of its choice."""
    settings: list[tuple[str, Any, str]] = [(group, {}, origin) for group, origin in choices.origins.items()]
    values = load_yaml(RUN_YAML)
    settings.append(("", values, display_path(RUN_YAML)))
    return MergedTree(reader, {key: value for key, value in values.items() if key != "defaults"}, settings)


def _may_choose_part(setting: Override) -> bool:
    """Whether a setting may choose a part, by an option or a target. Most don't, and aren't read."""
    is_in_group = setting.key_or_group.partition(".")[0] in GROUPS_OF_PARTS
    may_choose = isinstance(setting.value(), str | list | dict) or setting.key_or_group != _place(setting)
    return is_in_group and not setting.is_delete() and may_choose


def _is_below(setting: Override, key: str) -> bool:
    """Whether a setting is of a part below a key."""
    return _place(setting).startswith(f"{key}.")


def _place(setting: Override) -> str:
    """The key of the place whose part a setting chooses, if it chooses one."""
    owner, _, name = setting.key_or_group.rpartition(".")
    return owner if name in (OPTION, "_target_") else setting.key_or_group
