"""Checks a configuration before JAX is imported, and finds all of its problems at once."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from components.closest import equal_names, join_names, suggest_name
from components.types import Range
from components.types.splits import find_split_conflicts
from runner.config.catalog import EXPERIMENT, OPTION, RUN_FEATURES, find_options, read_default_options
from runner.config.check_data import find_drop_problems
from runner.config.check_examples import find_example_problems
from runner.config.check_files import find_file_problems
from runner.config.check_operations import find_operation_problems
from runner.config.check_schedule import find_schedule_problems
from runner.config.check_targets import (
    WEIGHTED,
    find_augmentations,
    find_target_problems,
    is_set,
    list_metric_names,
    target_of,
)
from runner.config.check_teacher import find_teacher_problems
from runner.config.check_update import find_update_problems
from runner.config.check_weights import find_run_problems
from runner.config.losses import find_loss_problems
from runner.config.modes import MODES, RUN_MODES, SWEEP_MODES
from runner.config.optimizer_notes import FULL_BATCH
from runner.config.overrides import COMMAND_LINE
from runner.config.provenance import find_origin, format_problem
from runner.config.settings import AUTO, MIN_STEPS, SECTIONS
from runner.config.slips import explain_function, suggest_key, suggest_parameter
from runner.errors import ConfigError
from runner.override_text import overridden_key
from runner.platform import count_workers, encoded_cache_bytes
from runner.signature.allowed_parts import find_kind_problem
from runner.signature.parameters import (
    REST,
    Parameter,
    Parameters,
    find_parameter,
    needs_more_arguments,
    read_call_signature,
    read_settings_fields,
    read_signature,
)
from runner.signature.schema import (
    FILLED_IN,
    LISTS,
    SCHEMA,
    find_hint,
    find_misplaced_parts,
    list_architectures,
    takes_function,
)
from runner.signature.source import NOT_ALLOWED, PartNotFoundError
from runner.signature.type_hints import NO_DEFAULT, SWEEP_ADVICE, Problem, find_problems, part_kinds
from runner.tree import is_reference, iterate_leaves, iterate_parts, join_path

if TYPE_CHECKING:
    from runner.config.config import Config

FEATURE_HINTS = {
    "target": SCHEMA["feature.target"],
    "columns": SCHEMA["feature.columns"],
    "inputs": dict[str, tuple[str, ...]],
}
OPTIONAL_FEATURE_HINTS = {
    "targets": SCHEMA["feature.targets"] | None,
    "weight": SCHEMA["feature.weight"],
    "sample": Annotated[int, Range(1)] | None,
}
MISSING_ARGUMENT = "is missing from the command line. "  # starts a problem without an origin: nothing set the key
WRITTEN = {  # what `output` is, of the modes that have it
    "predict": "the .csv, .parquet or .json file",
    "convert": "the .csv, .parquet or .tfrecord file, or the folder,",
}
RUN_EXAMPLES = {"evaluate": "data.split=valid", "predict": "data.path=new.csv output=predictions.csv"}
"""The modes that need a finished run, and the rest of a command for `run=last`."""
RATE = "${learning_rate}"  # how a schedule refers to the learning rate of the configuration
NEVER_SWEPT = ("mode", "run", "resume")  # keys that have one value in a command
HELD_OUT = ("data.valid", "data.test")
DATA_KEYS = {
    "split": Parameter(str, required=False),
    "on_missing": Parameter(Literal["error", "fill"], required=False),
}
"""Keys of `data` in the modes that read a finished run, in addition to the parameters of the source."""
REQUIRED = {
    "optimizer": ("learning_rate", "the learning rate of each step"),
    "architecture": ("outputs", "the number of outputs of each example"),
}
"""The parameter that each part of a kind must have, since the runner sets it, and what it means."""


def check_config(config: Config) -> None:
    """Raises ConfigError with all problems: the key, what is wrong, what is allowed, and the origin of the value.

    Also raises UserError if one of our environment variables with a number has another value.
    """
    count_workers()
    encoded_cache_bytes()
    if problems := find_config_problems(config):
        raise ConfigError(*problems, *find_file_problems(config))


def find_config_problems(config: Config) -> list[str]:
    """Finds all problems, one line each. Groups that are missing from the values are skipped."""
    values = config.values
    if _lacks_run(values):  # the other values are not those of the run
        return find_command_problems(config)
    used = _select_used(values)
    problems = [*_check_root(values), *_check_groups(values), *_check_parts(values), *_check_inputs(used)]
    problems += [
        *find_target_problems(used),
        *find_example_problems(used),
        *find_loss_problems(used),
        *find_teacher_problems(used),
        *find_run_problems(used),
        *find_update_problems(used),
        *find_schedule_problems(used),
        *find_drop_problems(used),
        *_check_length(used),
        *_check_monitor(used),
        *_check_folds(used),
        *_check_splits(used),
        *_check_batch_size(used),
        *_check_reference_batch_size(config),
        *_check_microbatches(used),
        *_check_sampling(used),
        *_check_order(used),
        *_check_precision(used),
        *_check_mode_keys(config),
    ]
    problems += find_operation_problems(used, problems)
    return _format_problems(config, problems)


def find_command_problems(config: Config) -> list[str]:
    """Finds the problems of a command for an unknown run: those that don't depend on the configuration of the run."""
    problems = [*_check_mode_keys(config), *_check_root(config.values)]
    return [*_format_problems(config, problems), *find_file_problems(config)]


def _lacks_run(values: Mapping[str, Any]) -> bool:
    """Whether the mode needs a finished run, and the command names none."""
    return str(values.get("mode")) in RUN_EXAMPLES and values.get("run") is None


def _select_used(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values without the groups that the mode doesn't use. Whether parts of those fit together doesn't matter."""
    mode = MODES.get(str(values.get("mode")))
    if mode is None or mode.groups is None or values.get("run") is not None:
        return values
    return {key: value for key, value in values.items() if key not in read_default_options() or key in mode.groups}


def _format_problems(config: Config, problems: Iterable[Problem]) -> list[str]:
    """A line for each problem, with the origin of the value. Values that refer to wrong ones are left out."""
    unloaded = tuple(f"{problem.key}." for problem in config.option_problems)
    problems = [problem for problem in problems if not f"{problem.key}.".startswith(unloaded)]
    # A wrong value is reported at its own key only, not at the keys that refer to it.
    references = {f"${{{problem.key}}}" for problem in problems}
    referring_keys = {
        join_path(path) for path, value in iterate_leaves(config.raw) if is_reference(value) and value in references
    }
    missing = {key for key, problem in problems if problem == NO_DEFAULT}  # what is below is missing too
    lines = [format_problem(f"{key}: {problem}", origin) for key, problem, origin in config.option_problems]
    for key, problem in _join_forbidden(problems):
        if key not in referring_keys and key.rpartition(".")[0] not in missing:
            removal = _find_removal(config, key, problem)
            origin = None if removal or problem.startswith(MISSING_ARGUMENT) else find_origin(config.origins, key)
            problem += f" [removed by {COMMAND_LINE} ({removal})]" if removal else ""
            if key in NEVER_SWEPT or config.values.get("mode") not in SWEEP_MODES:
                problem = problem.partition(SWEEP_ADVICE)[0]
            if key in HELD_OUT and " is not a number" in problem:
                problem = f"{problem}. Every run has this split: set a share, such as 0.1, or a number of rows"
            if problem.startswith("unknown parameter") and _is_left_over(config, key, origin or ""):
                problem = f"{problem} To leave it out, add '~{key}' to the command."
            lines.append(format_problem(f"{_written_key(config, key)}: {problem}", origin))
    return lines


def _find_removal(config: Config, key: str, problem: str) -> str | None:
    """The override that removes a value without a default, or the target of a part; None: there is none."""
    removals = {overridden_key(override): override for override in config.overrides if override.startswith("~")}
    owners = itertools.accumulate(key.split("."), "{}.{}".format) if problem == NO_DEFAULT else ()
    return next((removals[name] for name in (*owners, f"{key}._target_") if name in removals), None)


def _join_forbidden(problems: Sequence[Problem]) -> Iterator[Problem]:
    """The same problems, but one for all parts of a package that isn't allowed."""
    others = Counter(problem.partition(NOT_ALLOWED)[2] for _, problem in problems if NOT_ALLOWED in problem)
    for key, problem in problems:
        target, _, remedy = problem.partition(NOT_ALLOWED)
        if count := others.pop(remedy, 0) if NOT_ALLOWED in problem else 1:
            more = "one other part" if count == 2 else f"{count - 1} other parts"
            yield Problem(key, problem if count == 1 else f"{target}and {more} are not in an allowed package{remedy}")


def _written_key(config: Config, key: str) -> str:
    """The key as the command writes it: without `_target_` in `data.function=my_module.rows`."""
    parent = key.removesuffix("._target_")
    by_name = (word.startswith(f"{parent}=") and not word.startswith(f"{parent}={{") for word in config.overrides)
    return parent if "." in parent and any(by_name) else key


def _is_left_over(config: Config, key: str, origin: str) -> bool:
    """Whether a file set a parameter for another part than that which stands there now."""
    chosen_by = config.origins.get(f"{key.rpartition('.')[0]}._target_")
    return origin.startswith("experiments/") or (origin.startswith("conf/") and origin != chosen_by)


def has_valid_root(values: Mapping[str, Any]) -> bool:
    """Whether all keys outside the groups exist and have values of the right type."""
    return not any(_check_root(values))


def is_complete_part(group: str, node: Any) -> bool:
    """Whether a value is a part with all required parameters and without problems."""
    return isinstance(node, dict) and "_target_" in node and not any(_check_parts({group: node}))


def are_complete_operations(nodes: Any) -> bool:
    """Whether a value is a list of operations with all required parameters and without problems."""
    values = {"operations": nodes}
    problems = [*_check_groups(values), *_check_parts(values)]
    return isinstance(nodes, list) and not problems and not any(find_operation_problems(values, problems))


def _check_root(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Checks the keys outside the groups, and the keys of the sections."""
    known = read_settings_fields("Settings")
    for key in values:
        if key not in known and key not in read_default_options():
            yield Problem(str(key), f"unknown key. {suggest_key(key, values, [*known, *read_default_options()])}")
    yield from _check_arguments({key: value for key, value in values.items() if key in known}, known, "")
    for name, dataclass_name in SECTIONS.items():
        section = values.get(name, {})
        if isinstance(section, dict):
            suggest = functools.partial(suggest_parameter, values, name)
            yield from _check_arguments(section, read_settings_fields(dataclass_name), name, suggest=suggest)
        else:
            yield from find_problems(section, dict[str, Any], name)


def _check_groups(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Checks that each group is a part, or a mapping of parts by name."""
    for group in values:
        if group == "feature":
            yield from _check_feature(values[group])
        elif (group in read_default_options() and group != EXPERIMENT) or (  # `_check_root` finds other types of lists
            group in LISTS and isinstance(values[group], list)
        ):
            for key, problem in find_problems(values[group], SCHEMA[group], group):
                yield Problem(key, f"{problem}{_suggest_choice(group, values[group])}")
    yield from _check_observer_names(values.get("observer"))


def _check_observer_names(observers: Any) -> Iterator[Problem]:
    """Finds observers whose name can't be that of their folder."""
    for name in observers if isinstance(observers, dict) else ():
        if str(name) in ("", ".", "..") or {"/", "\\", "\0"} & set(str(name)):
            yield Problem(f"observer.{name}", "the name can't be that of a folder. Choose letters, digits and _.")


def _suggest_choice(group: str, value: Any) -> str:
    """How to choose options that stand in the value of a group of several, such as `{ema: {decay: 0.5}}`."""
    if not isinstance(read_default_options().get(group), list):
        return ""
    nodes = value if isinstance(value, list) else [value]
    options = [item for node in nodes if isinstance(node, dict) for item in node.items()]
    missing = [(name, node) for name, node in options if isinstance(node, dict) and "_target_" not in node]
    settings = [f"{group}.{name}.{key}" for name, node in missing for key in node]
    if not settings:
        return ""
    chosen = ",".join(dict.fromkeys(name for name, _ in options))
    return f". Choose options by {group}=[{chosen}], and set their values by keys such as {settings[0]}."


def _check_feature(feature: Any) -> Iterator[Problem]:
    if not isinstance(feature, dict):
        yield from find_problems(feature, dict[str, Any], "feature")
        return
    for key in FEATURE_HINTS:
        if key not in feature and not (key == "target" and feature.get("targets")):
            yield Problem(f"feature.{key}", "is missing")
    known = FEATURE_HINTS | OPTIONAL_FEATURE_HINTS
    for key, value in feature.items():
        if key in known:
            yield from find_problems(value, known[key], f"feature.{key}")
        else:
            yield Problem(f"feature.{key}", f"unknown key. {suggest_name(key, known)}")


def _find_misplaced(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds parts of a kind that is not allowed at their key."""
    for key, hint in SCHEMA.items():
        group, _, name = key.partition(".")
        value = values.get(group)
        if name and isinstance(value, dict):
            value = value.get(name)
        yield from find_misplaced_parts(value, hint, key)


def _check_parts(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Checks each part and its arguments, at any depth. The arguments of a misplaced part are not checked."""
    misplaced = list(_find_misplaced(values))
    yield from misplaced
    misplaced_keys = {problem.key for problem in misplaced}
    for path, node in iterate_parts(values):
        key = join_path(path)
        if f"{key}._target_" in misplaced_keys:
            continue
        target = node["_target_"]
        hint = find_hint(values, path)
        kinds = part_kinds(hint)
        filled_in = {name: problem for kind in kinds for name, problem in FILLED_IN.get(kind, {}).items()}
        arguments = {name: value for name, value in node.items() if name != "_target_"}
        try:
            known = read_signature(target)
        except PartNotFoundError as error:
            yield Problem(f"{key}._target_", str(error))
            continue
        if problem := explain_function(target, kinds, arguments):
            yield Problem(f"{key}._target_", problem)
            continue
        for required, meaning in [REQUIRED[kind] for kind in kinds if kind in REQUIRED]:
            if known is not None and required not in known:
                yield Problem(f"{key}._target_", f"{target} has no parameter `{required}`, {meaning}. Add it.")
        for name, problem in filled_in.items():
            if name in arguments:
                del arguments[name]
                yield Problem(f"{key}.{name}", problem)
        if known is not None and OPTION in known:
            yield Problem(
                f"{key}._target_",
                f"{target} has a parameter `{OPTION}`, which names an option in Titrate. Rename it.",
            )
        if known is not None and key == "data":
            for name in DATA_KEYS.keys() & known.keys():
                reserved = f"data.{name} has another meaning in Titrate"
                yield Problem(f"{key}._target_", f"{target} has a parameter `{name}`, but {reserved}. Rename it.")
            if values.get("mode") in RUN_MODES:
                known = known | DATA_KEYS
        if known is not None:
            known = {name: parameter for name, parameter in known.items() if name not in filled_in}
            if takes_function(hint) and needs_more_arguments(target, arguments):  # its caller passes them
                known = {name: parameter._replace(required=False) for name, parameter in known.items()}
            suggest = functools.partial(suggest_parameter, values, key)
            yield from _check_arguments(arguments, known, key, f"parameter of {target}", suggest)


def _check_arguments(
    values: Mapping[str, Any],
    known: Parameters,
    owner: str,
    what: str = "key",
    suggest: Callable[[str, Collection[str]], str] = suggest_name,
) -> Iterator[Problem]:
    """Checks values against the parameters of the part or section at the key `owner`."""
    for name, parameter in known.items():
        if parameter.required and name not in values:
            yield Problem(_join(owner, name), NO_DEFAULT)
    for name, value in values.items():
        key, found = _join(owner, name), find_parameter(known, name)
        if found is None:
            yield Problem(key, f"unknown {what}. {suggest(name, known.keys() - {REST})}")
        elif value == "???":
            yield Problem(key, "has no value yet. Set it.")
        elif not is_reference(value):
            yield from find_problems(value, found.hint, key)


def _check_inputs(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Checks the columns of each input, and the inputs of the architecture."""
    feature = values.get("feature")
    if not isinstance(feature, dict):
        return
    columns, inputs = feature.get("columns"), feature.get("inputs")
    if not isinstance(columns, dict) or not isinstance(inputs, dict):
        return
    for name, listed in inputs.items():
        for index, column in enumerate(listed if isinstance(listed, list) else ()):
            if column in listed[:index]:
                yield Problem(f"feature.inputs.{name}", f"the column {column} is listed twice. Leave one out.")
            elif isinstance(column, str) and column not in columns:
                yield Problem(f"feature.inputs.{name}", f"there is no column {column}. {suggest_name(column, columns)}")
    if target := _architecture_target(values):
        yield from _match_inputs(inputs, target, may_be_added=bool(find_augmentations(values, "adds_inputs")))


def _architecture_target(values: Mapping[str, Any]) -> str | None:
    """The target of the architecture; None if it is missing or is not an architecture."""
    node = values.get("architecture")
    target = node.get("_target_") if isinstance(node, dict) else None
    try:
        return target if isinstance(target, str) and not find_kind_problem(target, ("architecture",)) else None
    except PartNotFoundError:
        return None


def _match_inputs(inputs: Mapping[str, Any], target: str, *, may_be_added: bool) -> Iterator[Problem]:
    """Checks the names of the inputs against those of the architecture. A single input may have any name.

    If an augmentation adds inputs, those that are missing are checked when the program is traced.
    """
    parameters = read_call_signature(target)
    if parameters is None:
        return
    if "train" not in parameters:
        yield Problem("architecture._target_", f"{target}.__call__ has no parameter `train`. Add it.")
    is_required = {name: parameter.required for name, parameter in parameters.items() if name != "train"}
    if len(is_required) == len(inputs) == 1:
        return
    for name in inputs:
        if name not in is_required:
            yield Problem(f"feature.inputs.{name}", f"{target} has no input {name}. {suggest_name(name, is_required)}")
    for name, required in is_required.items():
        if required and name not in inputs and not may_be_added:
            yield Problem("feature.inputs", f"{target} needs an input {name}. Add it.")


def _check_length(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Checks that the run has an end in steps, which the schedule needs: `training.max_minutes` is none."""
    training = values.get("training")
    if isinstance(training, dict) and all(training.get(key, 1) is None for key in ("epochs", "steps")):
        yield Problem("training.epochs", "is null, and so is training.steps. Set one of them, or both.")


def _check_monitor(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds a monitored metric that no run could record. The trainer checks the names of internal losses."""
    metrics, training, feature = (values.get(name) for name in ("metric", "training", "feature"))
    if not isinstance(metrics, dict) or not isinstance(training, dict) or not isinstance(feature, dict):
        return
    metric_names, may_have_others = list_metric_names(values)
    names = [f"valid/{name}" for name in metric_names]
    names += [f"train/{name}" for name in metric_names if not name.startswith(WEIGHTED)]  # of held-out splits only
    if may_have_others or values.get("regularizer"):
        names.append("train/objective")
    monitor = training.get("monitor")
    if not isinstance(monitor, str) or monitor in (*names, "train/objective"):  # with auxiliary classifiers too
        return
    split, _, name = monitor.partition("/")
    is_weighted, has_weights = name.startswith(WEIGHTED), feature.get("weight") is not None
    may_be_internal = (split in ("train", "valid") and not is_weighted) or (split == "valid" and has_weights)
    if not may_have_others or not may_be_internal or name == "objective":
        names = [each for each in names if not each.startswith("train/") or not _collects_rows(metrics, each)]
        hint = _suggest_metric(monitor, metrics) if feature.get("target") is not None else None
        yield Problem("training.monitor", f"there is no metric {monitor}. {hint or suggest_name(monitor, names)}")


def _collects_rows(metrics: Mapping[str, Any], name: str) -> bool:
    """Whether the metric of a name in the record needs all rows, so that training has no value of it."""
    node: Any = metrics
    for key in name.split("/")[1:]:
        node = node.get(key) if isinstance(node, Mapping) else None
    return is_set(node, "collects")


def _suggest_metric(monitor: str, metrics: Mapping[str, Any]) -> str | None:
    """How to add the option of `metric` that is monitored, to the metrics of a single target; None: there is none."""
    options = find_options().files["metric"]
    split, _, name = monitor.rpartition("/")
    meant = equal_names(name, options)
    if (
        split not in ("", "train", "valid")
        or len(meant) != 1
        or meant[0] in metrics
        or not set(metrics) <= set(options)
    ):
        return None
    added = f"{meant[0]} is an option of metric: add it by 'metric=[{','.join([*metrics, meant[0]])}]'"
    return added if monitor == f"{split}/{meant[0]}" else f"{added}, and set training.monitor=valid/{meant[0]}"


def _check_folds(values: Mapping[str, Any]) -> Iterator[Problem]:
    folds, fold = values.get("folds"), values.get("fold")
    if isinstance(fold, int) and folds is None:
        yield Problem("fold", f"{fold} is set without folds, the number of folds. Set both.")
    elif isinstance(fold, int) and isinstance(folds, int) and fold >= folds:
        yield Problem("fold", f"{fold} is not below folds={folds}. Folds count from 0.")
    if folds is not None and values.get("mode") not in RUN_MODES and target_of(values.get("data")) == RUN_FEATURES:
        yield Problem(
            "folds",
            f"{folds} is not possible with data=features: its rows keep the splits with which the network of data.run "
            "was trained, or those of data.rows. Leave folds out, and repeat the run with other seeds: -m seed=1,2,3.",
        )


def _check_splits(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Checks that no options of a source of ours decide in two ways how its rows are split."""
    data = values.get("data")
    if not isinstance(data, dict) or not str(data.get("_target_")).startswith("components.data."):
        return
    for conflict in find_split_conflicts(data):
        key = f"data.{conflict.option}"
        described = conflict.describe(data, key="data.{}={}").removeprefix(f"{key}=")
        left_out = f"{key}=0" if conflict.option == "seed" else f"{key}=null"
        yield Problem(key, f"{described} Leave one of them out, as by {left_out}.")


def _check_batch_size(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Checks that a batch size of `auto` can be chosen."""
    training = values.get("training")
    if not isinstance(training, dict) or training.get("batch_size") != AUTO:
        return
    key, remedy = "training.batch_size", "Set a number."
    if training.get("compile") is False:
        yield Problem(key, f"auto reads the memory of the compiled step, and training.compile=false. {remedy}")
    if values.get("mode") == "look" and values.get("run") is None:
        yield Problem(key, f"auto is chosen when the training step is compiled, which mode=look doesn't do. {remedy}")
    for path, node in iterate_parts(values.get("optimizer"), ("optimizer",)):
        if node["_target_"] in FULL_BATCH:
            name = f"{join_path(path)}={node['_target_'].rpartition('.')[2]}"
            text = f"auto makes at least {MIN_STEPS} steps an epoch, and {name} needs all examples in each step."
            yield Problem(key, f"{text} Set it to the number of training examples.")


def _check_reference_batch_size(config: Config) -> Iterator[Problem]:
    """Checks that the learning rate that is multiplied by the batch size is that of the schedule."""
    values, key = config.values, "training.reference_batch_size"
    training = values.get("training")
    is_set = isinstance(training, dict) and training.get("reference_batch_size") is not None
    if not is_set or values.get("run") is not None:
        return
    if values.get("mode") == "find_lr":
        yield Problem(
            key, "multiplies the learning rate, and mode=find_lr finds that of this batch size. Set it to null."
        )
    elif RATE not in (value for _, value in iterate_leaves(config.raw.get("schedule"))):
        yield Problem(
            key, "multiplies learning_rate, and the schedule has another rate. Set learning_rate, or leave it out."
        )


def _check_microbatches(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Checks that a batch splits into equal parts, among whose examples an augmentation can mix."""
    training = values.get("training")
    size, count = (
        (training.get(name) for name in ("batch_size", "microbatches")) if isinstance(training, dict) else (0, 0)
    )
    if isinstance(size, int) and isinstance(count, int) and count > 0 and size % count:
        yield Problem("training.microbatches", f"{count} does not divide training.batch_size={size}. Choose a divisor.")
    if count == size and (mixing := find_augmentations(values, "mixes_classes")):
        text = f"{count} leaves one example in each part, which augmentation={mixing[0]} can mix with no other."
        yield Problem("training.microbatches", f"{text} Choose a smaller number.")


def _check_sampling(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Checks that nothing contradicts `training.sampling`."""
    training, feature = values.get("training") or {}, values.get("feature")
    sampling = training.get("sampling") if isinstance(training, dict) else None
    if isinstance(training, dict) and (weights := training.get("source_weights")):
        yield from _check_source_weights(weights, values.get("data"), training)
    if sampling is None or not isinstance(feature, dict):
        return
    if (shuffle := training.get("shuffle")) is not True:
        text = f"{str(shuffle).lower()} has no effect, because training.sampling={sampling} draws examples at random."
        yield Problem("training.shuffle", f"{text} Leave one of them out.")
    if sampling == "weighted" and feature.get("weight") is None:
        yield Problem("training.sampling", "weighted draws by the weights of the examples. Set feature.weight=COLUMN.")
    several = feature.get("targets")
    targets = {"target": feature.get("target")}
    targets |= {f"targets.{name}": node for name, node in several.items()} if isinstance(several, dict) else {}
    for key, target in targets.items() if sampling == "balanced" else ():
        if isinstance(target, dict) and target.get("weight") in ("balanced", "effective_number"):
            weight = f"feature.{key}.weight={target['weight']}"
            text = f"balanced draws each class equally often, and {weight} would weigh it once more."
            yield Problem("training.sampling", f"{text} Leave one of them out.")


def _check_source_weights(weights: Mapping[str, Any], data: Any, training: Mapping[str, Any]) -> Iterator[Problem]:
    """Checks that `training.source_weights` has the weights of all sources of data=mixed, and no other ones."""
    sources = data.get("sources") if isinstance(data, dict) else None
    if not isinstance(sources, dict):
        yield Problem("training.source_weights", "is for data=mixed, which has several sources. Leave it out.")
        return
    for name in weights.keys() - sources.keys():
        text = f"there is no source {name}. {suggest_name(name, sources, title='Sources')}"
        yield Problem(f"training.source_weights.{name}", text)
    if missing := sorted(sources.keys() - weights.keys()):
        text = f"there is no weight of {join_names(missing)}. Set one, which may be 0."
        yield Problem("training.source_weights", text)
    if not any(weights.values()):
        yield Problem("training.source_weights", "all weights are 0, so nothing is drawn. One must be above 0.")
    if (sampling := training.get("sampling")) is not None:
        text = f"{sampling} and training.source_weights both decide how often a row is drawn. Leave one of them out."
        yield Problem("training.sampling", text)
    if (shuffle := training.get("shuffle")) is not True:
        text = f"{str(shuffle).lower()} has no effect, because training.source_weights draws examples at random."
        yield Problem("training.shuffle", f"{text} Leave one of them out.")


def _check_order(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Checks that each setting of the order of the examples has an effect, and that inputs have its column."""
    training, feature = values.get("training"), values.get("feature")
    if not isinstance(training, dict) or not isinstance(feature, dict):
        return
    inputs = feature.get("inputs")
    listed = [names for names in inputs.values() if isinstance(names, list)] if isinstance(inputs, dict) else []
    columns = {name for names in listed for name in names if isinstance(name, str)}
    column = training.get("bucket_by_length")
    if column is not None and column not in columns:
        text = f"{column} is no column of the inputs. {suggest_name(column, columns, title='Columns')}"
        yield Problem("training.bucket_by_length", text)
    if column is None and (batches := training.get("bucket_batches", 100)) != 100:
        text = f"{batches} has no effect without training.bucket_by_length, the column of lists. Set both."
        yield Problem("training.bucket_batches", text)
    shuffle, sampling, cycle = (training.get(name) for name in ("shuffle", "sampling", "interleave"))
    draws = "source_weights" if training.get("source_weights") else sampling and f"sampling={sampling}"
    if cycle is not None and draws:
        text = f"{cycle} has no effect, because training.{draws} draws examples at random."
        yield Problem("training.interleave", f"{text} Leave one of them out.")
    elif cycle is not None and shuffle is True:
        text = f"{cycle} has no effect, because training.shuffle=true shuffles all rows of an epoch."
        yield Problem("training.interleave", f"{text} Set training.shuffle=false, or a window: training.shuffle=10000.")
    if cycle is None and (block := training.get("interleave_block", 1)) != 1:
        text = f"{block} has no effect without training.interleave, the number of files that are interleaved. Set both."
        yield Problem("training.interleave_block", text)
    if training.get("reshuffle") is False and shuffle is False and not draws:
        text = "false has no effect, because training.shuffle=false gives each epoch the same order."
        yield Problem("training.reshuffle", f"{text} Leave one of them out.")


def _check_precision(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Checks that the architecture supports the precision: all but float32 need a parameter `dtype`."""
    training, target = values.get("training"), _architecture_target(values)
    if not isinstance(training, dict) or training.get("precision") in (None, "float32"):
        return
    with contextlib.suppress(PartNotFoundError):  # another check names it
        for node in list_architectures(values["architecture"]) if target else ():
            part = node["_target_"]
            known = read_signature(part)
            if known is not None and "dtype" not in known:
                text = f"{part} supports float32 only, because it has no parameter `dtype`."
                yield Problem("training.precision", text)


def _check_mode_keys(config: Config) -> Iterator[Problem]:
    """Checks keys that are allowed in some modes only, unless a word of the command names the mode in a wrong way."""
    values = config.values
    mode = str(values.get("mode"))
    names_mode = any(word in MODES or word.startswith("mode=") for word in config.overrides)
    if names_mode and not config.origins.get("mode", "").startswith(COMMAND_LINE):
        return
    if _lacks_run(values):
        text = "Set it to a run's folder or MLflow id, or to last (see mode=runs)"
        yield Problem("run", f"{MISSING_ARGUMENT}{text}: titrate mode={mode} run=last {RUN_EXAMPLES[mode]}")
    if mode in MODES and mode not in RUN_MODES and values.get("run") is not None:
        yield Problem("run", f"is allowed for mode={', '.join(RUN_MODES)} only. To resume training, use resume.")
    for key in config.origins:
        modes = [f"mode={name}" for name, each in MODES.items() if key in each.keys]
        is_of_mode = key.startswith(("runs.", "convert.", "find_lr.", "mc_samples", "ensemble"))
        is_set = is_of_mode and config.origins[key].startswith(COMMAND_LINE)
        if is_set and mode in MODES and modes and f"mode={mode}" not in modes:
            yield Problem(key, f"is allowed for {' and '.join(modes)} only. Leave it out.")
    training = values.get("training")
    if mode == "dry_run" and isinstance(training, dict) and training.get("compile") is False:
        yield Problem("training.compile", "is false, but mode=dry_run measures the compiled program. Leave it out.")
    if mode == "look" and values.get("run") is None and "split" in (values.get("data") or {}):
        yield Problem("data.split", "is the split of a finished run. Set run, too.")
    output, data = values.get("output"), values.get("data")
    if isinstance(output, dict):
        if mode not in WRITTEN and any(output.values()):
            key = next(key for key, value in output.items() if value)
            yield Problem(f"output.{key}", "is allowed for mode=predict and mode=convert only. Leave it out.")
        if mode in WRITTEN and output.get("path") is None:
            yield Problem("output", f"{MISSING_ARGUMENT}Set it to {WRITTEN[mode]} to write.")
    if mode == "look" and isinstance(data, dict) and "on_missing" in data:
        yield Problem("data.on_missing", "is allowed for mode=evaluate and mode=predict only. Leave it out.")


def _join(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else str(name)
