"""What a user may have meant by a key or an option that does not exist."""

from __future__ import annotations

import ast
import contextlib
import itertools
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.closest import closest_names, equal_names, join_names, suggest_name
from components.file_formats import FORMAT_NAMES, FORMATS
from components.input_files import IMAGE_SUFFIXES, candidate_paths
from components.types import UserError
from runner.config.catalog import EXPERIMENT, find_options, read_default_options
from runner.config.modes import MODES
from runner.config.option_parts import find_options_with, list_options_of, list_parameters
from runner.config.settings import SECTIONS
from runner.signature.allowed_parts import is_allowed_part
from runner.signature.classes import find_class, find_returned_class, is_protocol, member_names
from runner.signature.kinds import KINDS
from runner.signature.parameters import REST, read_settings_fields, read_signature
from runner.signature.schema import LISTS, find_list, groups_by_kind
from runner.signature.source import PartNotFoundError, find_definition
from runner.signature.type_hints import format_value
from runner.tree import iterate_leaves, iterate_parts, join_path

OTHER_KEYS = {
    "lr": "learning_rate",
    "model": "architecture",
    "net": "architecture",
    "network": "architecture",
    "dataset": "data",
    "criterion": "loss",
    "optim": "optimizer",
    "scheduler": "schedule",
    "lr_scheduler": "schedule",
    "metrics": "metric",
    "logger": "tracking",
    "callbacks": "observer",
    "train": "training",
    "trainer": "training",
    "num_epochs": "training.epochs",
    "n_epochs": "training.epochs",
    "max_epochs": "training.epochs",
    "trainer.max_epochs": "training.epochs",
    "num_steps": "training.steps",
    "max_steps": "training.steps",
    "trainer.max_steps": "training.steps",
    "data.batch_size": "training.batch_size",
    **dict.fromkeys(("class_weight", "class_weights", "training.class_weights"), "feature.target.weight"),
    "loss.class_weights": "feature.target.weight",
    "random_seed": "seed",
    "random_state": "seed",
    "data.random_seed": "data.seed",
    "data.random_state": "data.seed",
    "early_stopping_patience": "training.patience",
    "image_size": "feature.columns.image.size",
    "data.size": "feature.columns.image.size",
    "data.image_size": "feature.columns.image.size",
    "test_size": "data.test",
    "val": "data.valid",
    "val_size": "data.valid",
    "validation_split": "data.valid",
    "input": "data.path",
    "output_dir": "folder",
}
"""Titrate's keys, by names that other libraries have for them. For names of options and parameters, see
`components/other_names.py`."""

NAMES_FOR_FINISHED_RUNS = {
    "model": "run",
    "checkpoint": "run",
    "weights": "run",
    "path": "data.path",
    "file": "data.path",
    "input": "data.path",
    "split": "data.split",
    "on_missing": "data.on_missing",
    "columns": "output.columns",
    "overwrite": "output.overwrite",
}
"""The keys that a user may have meant in a mode of a finished run."""

OTHER_ARGUMENTS = {"y", "y_true", "y_pred", "pred", "preds", "predictions", "labels", "targets", "outputs", "params"}
"""The names that other libraries have for the arguments of losses, metrics and penalties."""

PLATFORM = (
    "JAX uses a GPU or TPU once its packages are installed: uv sync --inexact --extra cuda (or tpu). "
    "To choose the platform, write JAX_PLATFORMS=cpu (or cuda, tpu) before titrate."
)
EXPLANATIONS = {
    **dict.fromkeys(("device", "platform", "accelerator", "gpu", "gpus"), PLATFORM),
    "early_stopping": "To stop after 5 evaluations without improvement, write training.patience=5",
    "data.on_missing": "It is for new rows: mode=predict and mode=evaluate. Training drops rows without a target by "
    "data.on_missing_target=drop, and fills the gaps of a column as its `missing` says.",
    "verbose": "To print warnings and errors only, write quiet=true",
}
"""What to do instead, by keys that Titrate has no key for."""

LAYERS = {"dropout": ("Dropout", "rate")}
"""The layers that a network of layers has for a parameter of other networks, and their parameter."""

TYPED_TABLES = tuple(f".{suffix}" for kind, each in FORMATS.items() if kind is not None for suffix in each.suffixes)
"""The suffixes of tables that data=table reads, other than CSV files."""
OTHER_TABLES = (".xlsx", ".xlsm", ".xls", ".ods", ".json")
"""The suffixes of tables that no source reads."""
TABLES = (*(f".{suffix}" for suffix in FORMATS[None].suffixes), *TYPED_TABLES, *OTHER_TABLES)


def suggest_key(key: str, values: Mapping[str, Any], known: Collection[str]) -> str:
    """Suggests what to write instead of an unknown key at the root of a configuration.

    Args:
        key: the key.
        values: the configuration.
        known: the names that are allowed.
    """
    if key in EXPLANATIONS:
        return EXPLANATIONS[key]
    value = values[key]
    leaves = {join_path((key, *path)): leaf for path, leaf in iterate_leaves(value)}
    if not isinstance(value, dict):
        leaves = {str(key): value}
    meant = {leaf: list(find_meant_keys(leaf, values)) for leaf in leaves}
    if not all(meant.values()):
        return _suggest_options("optimizer", str(key)) or suggest_name(key, known)
    overrides = [" or ".join(_format_override(new, leaves[leaf]) for new in keys) for leaf, keys in meant.items()]
    return f"Write {' '.join(overrides)}"


def suggest_for_finished_run(key: str, value: Any) -> str | None:
    """Suggests what to write instead of an override that is not allowed for a finished run; None: to leave it out."""
    if key in NAMES_FOR_FINISHED_RUNS:
        return f"unknown key. Write {_format_override(NAMES_FOR_FINISHED_RUNS[key], value)}"
    if key == "data" and isinstance(value, str) and explain_data_file(value):
        return f"the source is that of the finished run. Write {_format_override('data.path', value)}"
    root = key.partition(".")[0]
    known = [*read_settings_fields("Settings"), *read_default_options()]
    if root in known or root in EXPLANATIONS or any(find_meant_keys(key, {})):
        return None
    return f"unknown key. {suggest_name(root, known)}"


def suggest_help(key: str, known: Collection[str]) -> str:
    """Suggests what to write instead of an unknown key after `--help`, of which `known` are allowed."""
    if key in EXPLANATIONS:
        return EXPLANATIONS[key]
    if meant := list(find_meant_keys(key, {})):
        return f"See {' or '.join(f'titrate --help {name}' for name in meant)}"
    groups = find_options().files
    if options := [f"{group}={name}" for group, files in groups.items() for name in equal_names(key, files)]:
        return f"See {' or '.join(f'titrate --help {option}' for option in options)}"
    return _suggest_options("optimizer", key) or suggest_name(key, known)


def suggest_parameter(values: Mapping[str, Any], owner: str, name: str, known: Collection[str]) -> str:
    """Suggests what to write instead of an unknown parameter of a part, or an unknown key of a section.

    Args:
        values: the configuration.
        owner: the key of the part or section.
        name: the name of the parameter.
        known: the names that are allowed.
    """
    if explanation := EXPLANATIONS.get(name) or EXPLANATIONS.get(f"{owner}.{name}"):
        return explanation
    node, meant = values.get(owner, {}), _find_meant_key(owner, name)
    if meant is not None and name in node:
        return f"Write {_format_override(meant, node[name])}"
    if owner == "data" and name in ("path", "target"):
        return _suggest_data_key(values, name, known)
    if layers := _find_layers(name, values):
        return f"Write {' '.join(_format_override(key, node.get(name)) for key in layers)}"
    if equal_names(name, known):  # such as PyTorch's name of a parameter that the part has
        return suggest_name(name, known)
    return _suggest_options(owner, name) or suggest_name(name, known)


def _suggest_data_key(values: Mapping[str, Any], name: str, known: Collection[str]) -> str:
    """Suggests what to write instead of `data.path` or `data.target`, which the source doesn't have."""
    calls_function = "function" in known
    if name == "path" and values.get("run") is not None:
        if calls_function:
            return "Its rows come from a function. Set another data.function, or an argument of it."
        return f"Its rows come from no file. Predict others in Python: runner.load({str(values['run'])!r}).predict(…)."
    if calls_function and name == "path":
        return "Its rows come from data.function. To read a file, choose another source, such as data=csv."
    if calls_function:
        return "The target stands in the feature file: write conf/feature/NAME.yaml, and choose it by feature=NAME."
    if name == "target" and "path" in known:
        return "The source names its target itself: leave this out. A table has data.target: write data=csv."
    data = values.get("data", {})
    return _write_table(str(data.get("path", "FILE")), str(data.get("target", "COLUMN")))


def _find_meant_key(owner: str, name: str) -> str | None:
    """The key of a value for which another library has the name of an unknown parameter. None: there is none."""
    meant = OTHER_KEYS.get(f"{owner}.{name}") or _find_meaning_below(owner, name)
    if meant is None and owner in SECTIONS and name in read_settings_fields("Settings"):
        return name
    return None if meant in SECTIONS or meant in read_default_options() else meant


def _find_meaning_below(owner: str, name: str) -> str | None:
    """The key that another library's name of a key at the root means below an owner; None: it means none there.

    Names of data, such as `val` and `input`, have another meaning below other parts.
    """
    meant = OTHER_KEYS.get(name)
    is_of_data = meant is not None and meant.startswith("data.")
    return None if is_of_data and owner not in ("data", "training") else meant


def explain_unknown_parameter(group: str, name: str, value: Any) -> str | None:
    """The problem of a parameter that no option of a group has, while none is chosen; None: an option has it."""
    is_known = name == "_target_" or group == "feature"  # the columns of a feature file may be inferred
    if is_known or find_options_with(group, name) or find_options_with(group, REST):
        return None
    remedy = ""
    if (meant := _find_meant_key(group, name)) is not None:
        remedy = f" Write {_format_override(meant, value)}"
    elif near := closest_names(name, sorted(list_parameters(group)), count=2):
        remedy = f" Did you mean {' or '.join(near)}?"
    return f"no option of {group} has this parameter.{remedy}"


def explain_function(target: str, kinds: Sequence[str], arguments: Mapping[str, Any]) -> str | None:
    """The problem of a function that takes what the method of a part takes, such as `(logits, target)`; None: none.

    Args:
        target: the `_target_`.
        kinds: the kinds of part that are allowed at its key.
        arguments: the values of its parameters in the configuration.
    """
    definition = find_definition(target)
    if definition is None or not isinstance(definition.node, ast.FunctionDef) or find_returned_class(definition):
        return None
    required = [name for name, parameter in (read_signature(target) or {}).items() if parameter.required]
    if set(required) & arguments.keys():
        return None
    for kind in (KINDS[name] for name in kinds if name in KINDS):
        is_own = kind.returns is not None and kind.returns.startswith("components.types.")
        protocol = find_class(kind.returns) if kind.returns and is_own else None
        if protocol is None or not is_protocol(protocol):
            continue
        methods = [node for node in protocol.node.body if isinstance(node, ast.FunctionDef)]
        takes = {argument.arg for node in methods for argument in node.args.args} | OTHER_ARGUMENTS
        if takes & set(required):
            members = " and ".join(f"`{name}`" for name in sorted(member_names(protocol) or ()))
            return (
                f"{target} is a function of ({', '.join(required)}). {kind.title.capitalize()} is a class with "
                f"{members}. Run: titrate --help {kind.returns}"
            )
    return None


def _suggest_options(group: str, parameter: str) -> str | None:
    """Names the options of a group that have a parameter; None: none has it."""
    options = find_options_with(group, parameter) if group in read_default_options() else {}
    return f"Options of {group} that have it: {join_names(options)}." if options else None


def explain_part(group: str, name: str) -> str | None:
    """What to write for the name of a part that is no option of its group; None: there is no such part of its kinds."""
    kinds = [kind for kind, owner in groups_by_kind().items() if owner == group]
    packages = [package for kind in kinds for package in KINDS[kind].packages]
    takes_several = isinstance(read_default_options()[group], list)
    key = f"{group}.{name.rpartition('.')[2]}" if takes_several else group
    for target in [name] if "." in name else [f"{package}.{name}" for package in packages]:
        with contextlib.suppress(PartNotFoundError):
            if is_allowed_part(target, kinds):
                options, own = list_options_of(group, target), target.rpartition(".")[2]
                options = [own] if own in options else options  # rather than another name of it
                written = options if takes_several else [f"{group}={option}" for option in options]
                return f"Write {' or '.join(written) or f'{key}._target_={target}'}"
    return None


def explain_word(word: str, options: Mapping[str, Collection[str]]) -> str | None:
    """What to write for a word of the command that has no `=`; None: nothing is likely.

    Args:
        word: the word.
        options: the options of each group.
    """
    if "=" in word:
        return None
    if word in MODES:
        return f"Write mode={word}"
    if word in ("help", "version", "info"):
        return f"Write --{word}"
    name = Path(word).stem if Path(word).suffix == ".yaml" else word
    groups = [group for group in (EXPERIMENT, *options) if name in options[group]]
    meant = [f"{find_list(group)}=[{name}]" if find_list(group) else f"{group}={name}" for group in groups]
    return f"Write {' or '.join(dict.fromkeys(meant))}" if meant else None


def explain_data_file(name: str) -> str | None:
    """What to write for the name of a file or folder as the option of `data`; None: the name is not that of one."""
    if any(map(_holds_images, candidate_paths(name))):
        return f"Write data=images {_format_override('data.path', name)}"
    if not re.search(r"[./\\]", name):
        return None
    if Path(name).suffix.lower() in OTHER_TABLES:
        written = _write_table(str(Path(name).with_suffix(".csv")))
        return (
            f"Tables are read from files of {join_names(FORMAT_NAMES.values())}. Save it as CSV or Parquet. {written}"
        )
    return _write_table(name)


def _holds_images(folder: Path) -> bool:
    """Whether a folder holds images, or folders of images, as far as its first files tell."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: the path contains a NUL
        return any(path.suffix.lower() in IMAGE_SUFFIXES for path in itertools.islice(folder.rglob("*"), 1000))
    return False


def _write_table(path: str, target: str = "COLUMN") -> str:
    option = "table" if Path(path).suffix.lower() in TYPED_TABLES else "csv"
    overrides = [f"data={option}", _format_override("data.path", path), _format_override("data.target", target)]
    return f"Write {' '.join(overrides)}"


def find_meant_keys(key: str, values: Mapping[str, Any]) -> Iterator[str]:
    """The keys that a user may have meant: another name of it or of its owner, or the same name below an owner."""
    root, _, below = key.partition(".")
    if key in OTHER_KEYS:
        yield OTHER_KEYS[key]
    elif below and root in OTHER_KEYS:
        owner = OTHER_KEYS[root]
        meant = OTHER_KEYS.get(f"{owner}.{below}") or _find_meaning_below(owner, below) or f"{owner}.{below}"
        fields = read_settings_fields(SECTIONS[owner]) if owner in SECTIONS else ()
        if meant != f"{owner}.{below}" or below in fields or meant in _find_owners(below, values):
            yield meant
    elif not below:
        yield from (f"{name}.{key}" for name, fields in SECTIONS.items() if key in read_settings_fields(fields))
        owners = _find_layers(key, values) or [*_find_owners(key, values)]
        undecided = [
            group for group in read_default_options() if values and group not in values
        ]  # until a table is read
        yield from owners or (f"{group}.{key}" for group in undecided if find_options_with(group, key))


def _find_layers(name: str, values: Mapping[str, Any]) -> list[str]:
    """The keys of the chosen architecture's layers for a parameter that other architectures have, such as `dropout`."""
    layer, parameter = LAYERS.get(name, ("", ""))
    parts = iterate_parts(values.get("architecture"), ("architecture",))
    names = ((path, str(node["_target_"]).rpartition(".")[2]) for path, node in parts)
    return [join_path((*path, parameter)) for path, found in names if layer and found == layer]


def _find_owners(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    """The keys of a parameter in the chosen parts. Parts within parts are left out."""
    for path, node in iterate_parts(values):
        is_named = isinstance(read_default_options().get(str(path[0])), list) or path[0] in LISTS
        if path[0] == EXPERIMENT or len(path) > 1 + is_named:
            continue
        try:
            parameters = read_signature(node["_target_"]) or {}
        except UserError:
            continue
        if name in parameters:
            yield join_path((*path, name))


def _format_override(key: str, value: Any) -> str:
    """An override as it is typed in a shell."""
    return shlex.quote(f"{key}={value if isinstance(value, str) else format_value(value)}")
