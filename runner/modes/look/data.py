"""`mode=look` without a run: shows the training data, and keeps the tables and figures in a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runner.config.config import Config
from runner.config.provenance import errors_with_origin
from runner.config.settings import Training
from runner.data.training_order import TrainingOrder, limit_batches
from runner.display.progress import Progress
from runner.display.tables import Section, shorten_section
from runner.execution.open_folder import create_mode_folder
from runner.execution.run_data import load_data
from runner.execution.weights_needs import with_weights_needs
from runner.figures.canvas import shorten, target_suffix
from runner.figures.data import GRID_COLUMNS, draw_class_balance, draw_image_grid, draw_target_histograms
from runner.files import write_atomically
from runner.modes.look import tables
from runner.modes.look.operations import operations_tables
from runner.modes.look.view import Examples, View, image_inputs
from runner.run_folder import LOOK, check_root, write_summary
from runner.training.sampling import accumulate_weights

MAX_IMAGES = 32
MAX_CLASSES = 20  # with a row of images


@dataclass(frozen=True)
class Look:
    """What `mode=look` shows.

    Attributes:
        sections: the tables.
        folder: the folder that holds the figures.
        tracking: the description of the MLflow store that gets the figures of a run's mistakes; empty: none.
    """

    sections: list[Section]
    folder: Path
    tracking: Mapping[str, Any]


@contextlib.contextmanager
def look_at_data(config: Config, progress: Progress) -> Iterator[Look]:
    """Yields the tables of the data that a configuration trains on.

    They are no result of a run, so MLflow gets no run of them.

    Raises:
        UserError: an error that the user can fix. No folder has been created then.
    """
    check_root(Path(config.values["folder"]))
    config = with_weights_needs(config, progress.note)
    with errors_with_origin(config):
        training = Training.from_config(config.values["training"])
        data, features = load_data(config, None, progress, training=training)
        view = View(limit_batches(data, training), features)
        order = _make_order(config, training, view, progress)
    data = view.data
    for text in data.messages:
        progress.note(text)
    with contextlib.closing(create_mode_folder(config, data, LOOK)) as folder:
        status = "failed"
        try:
            first_batch = order.epoch(0)[: training.batch_size]
            sections = _make_sections(config, view, first_batch, folder.path / "figures", progress)
            yield Look(sections, folder.path, {})
            status = "finished"
        finally:
            metrics = {f"{split}/rows": len(rows) for split, rows in data.splits.items()}
            write_summary(folder.path, {"status": status, "run_id": None, "metrics": metrics})


def _make_order(config: Config, training: Training, view: View, progress: Progress) -> TrainingOrder:
    """The order of the training examples. Raises LocatedError if a setting doesn't fit the data."""
    with progress.working("ordering the training examples"):
        rows = view.data.splits["train"]
        cumulative = accumulate_weights(training, view.data, view.targets, lambda column: view.load(column, rows))
        return TrainingOrder(view.data, training, config.values["seed"], cumulative)


def _make_sections(config: Config, view: View, batch: np.ndarray, figures: Path, progress: Progress) -> list[Section]:
    """Makes the tables, draws the figures, and writes the tables as text beside the figures.

    Args:
        config: the configuration.
        view: the data.
        batch: the rows of the first training batch.
        figures: the folder of the figures.
        progress: the progress display.
    """
    with progress.working("computing the first batch"):
        examples = view.examples(batch)
        targets = {split: view.compute_targets(split) for split in view.data.splits}
    with progress.working("drawing"):
        first = tables.first_examples_table(view)
        sections = [
            *operations_tables(view.data.operations),
            tables.splits_table(view),
            *([] if first is None else [first]),
            *_show_distributions(view, targets, figures),
            *_show_examples(view, examples, figures),
        ]
        _draw_augmented(view, config, batch, figures)
        _draw_classes(view, targets["train"], figures)
    figures.mkdir(exist_ok=True)  # no figure is drawn without targets and images
    write_atomically(figures / "look.txt", "\n".join(map(str, sections)))
    return [shorten_section(section, "look.txt has all") for section in sections]


def _show_distributions(
    view: View, targets: Mapping[str, Mapping[str, np.ndarray]], figures: Path
) -> Iterator[Section]:
    """Makes the table and the figure of each target's distribution in each split; `targets` is by split and name."""
    for target, spec in view.targets.items():
        if spec.is_image:
            continue
        by_split = {split: by_name[target] for split, by_name in targets.items()}
        suffix = target_suffix(target)
        if spec.classes is None:
            draw_target_histograms(by_split, figures, suffix)
            yield tables.quartiles_table(by_split, target)
        else:
            counts = tables.count_classes(by_split, len(spec.classes))
            totals = tables.count_known(by_split)
            draw_class_balance(counts, totals, spec.classes, figures, suffix)
            yield tables.classes_table(counts, totals, spec.classes, target)


def _show_examples(view: View, examples: Examples, figures: Path) -> list[Section]:
    """Makes the tables of a batch and of its first examples, and draws its images."""
    targets = {
        name: tables.format_targets(view.decode(name, examples.targets[name]), spec.classes)
        for name, spec in view.targets.items()
        if not spec.is_image
    }
    texts = [", ".join(shorten(text, 16) for text in row) for row in zip(*targets.values(), strict=True)]
    texts = texts or [""] * len(examples.rows)
    _draw_examples(view, examples.inputs, examples.targets, texts, "the first training examples", figures / "examples")
    sections = [
        tables.batch_table(examples),
        tables.lengths_table(examples),
        tables.examples_table(examples, targets, "first examples of the first training batch"),
    ]
    return [section for section in sections if section is not None]


def _draw_augmented(view: View, config: Config, rows: np.ndarray, figures: Path) -> None:
    """Draws the images of the first batch with the augmentations, if there are any, and their random crops."""
    columns = view.data.encoded.values()
    is_decoded = any(getattr(array, "draws", 0) for arrays in columns for array in arrays.values())
    if not config.values["augmentation"] and not is_decoded:
        return
    inputs, targets = view.augment(config, rows)
    texts = [""] * len(rows)
    _draw_examples(view, inputs, targets, texts, "the first training examples, augmented", figures / "augmented")


def _draw_examples(
    view: View,
    inputs: Mapping[str, Any],
    targets: Mapping[str, np.ndarray],
    texts: Sequence[str],
    title: str,
    path: Path,
) -> None:
    """Draws the first images of each input, beside the targets that are images.

    Args:
        view: the data.
        inputs: the inputs by name.
        targets: the targets by name.
        texts: the caption of each example.
        title: the end of the title.
        path: the start of the path of each file.
    """
    for name, values in image_inputs(inputs).items():
        images = values[:MAX_IMAGES]
        beside = view.pictures(images, {target: each[:MAX_IMAGES] for target, each in targets.items()})
        names = "".join(f" | {target}" for target in beside)
        draw_image_grid(
            images,
            texts[:MAX_IMAGES],
            f"{name}{names}: {title}",
            path.with_name(f"{path.name}_{name}.png"),
            beside=[*beside.values()],
            classes=view.painted_classes,
        )


def _draw_classes(view: View, targets: Mapping[str, np.ndarray], figures: Path) -> None:
    """Draws a row of training images for each class, of the largest classes if there are many."""
    for target, spec in view.targets.items():
        if spec.classes is None or spec.kind != "classes" or spec.shape != () or target not in targets:
            continue
        counts = np.bincount(targets[target][targets[target] >= 0], minlength=len(spec.classes))
        shown = np.sort(np.argsort(-counts, kind="stable")[:MAX_CLASSES])
        columns = min(GRID_COLUMNS, max(int(counts[shown].min()), 1))
        chosen = [np.flatnonzero(targets[target] == number)[:columns] for number in shown.tolist()]
        rows = view.data.splits["train"][np.concatenate(chosen)]
        names = [spec.classes[number] for number, positions in zip(shown, chosen, strict=True) for _ in positions]
        for name, values in image_inputs(view.examples(rows).inputs).items():
            title = f"{name}: training examples of each class"
            path = figures / f"classes_{name}{target_suffix(target)}.png"
            draw_image_grid(values, [shorten(str(each), 16) for each in names], title, path, columns=columns)
