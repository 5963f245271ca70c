"""A look at a run after training: which examples it got most wrong, and which classes it takes for each other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.types import UserError
from runner import figures
from runner.config.config import Config
from runner.display.progress import Progress
from runner.display.tables import Section
from runner.figures import images as grids
from runner.figures.canvas import short
from runner.files import refuse_links, write_atomically
from runner.inference.trained_model import TrainedModel, open_model
from runner.modes.look import tables
from runner.modes.look.data import Look
from runner.modes.look.tables import number, share
from runner.modes.look.view import View, images
from runner.record import predictions as kept
from runner.record.predictions import RecordedPredictions
from runner.run_folder import read_record
from runner.tracking import DELIVERY_SECONDS, Delivery, RepeatedDelivery

MOST = 20  # examples in the table
MOST_IMAGES = 32
MOST_PAIRS = 10  # of classes


@contextlib.contextmanager
def look(config: Config, shown: Progress) -> Iterator[Look]:
    """Looks at what the run that `run` names got wrong; its figures go to its MLflow run at the end of the context.

    Raises UserError where the run says nothing of a split.
    """
    fitted = open_model(config, shown)
    folder = fitted.folder
    refuse_links(folder / "figures")
    answers, suffix = _answers(fitted, config.split)
    view = _view(fitted, shown)
    worst = order(answers)
    tracking = read_record(folder)["tracking"]
    delivery = RepeatedDelivery(folder, config.values["tracking"].get("uri")) if tracking else None
    (folder / "figures").mkdir(exist_ok=True)
    with shown.working("drawing"):
        figures.draw(folder)
        if suffix:
            figures.draw_answers(answers, folder / "figures", suffix)
        sections = [section for section in _sections(answers, worst, view) if section is not None]
        if view is not None:
            _draw_images(answers, view, worst[:MOST_IMAGES], folder / "figures", suffix)
    write_atomically(folder / "figures" / f"worst_mistakes{suffix}.txt", "\n".join(map(str, sections)))
    yield Look(sections, folder, tracking)
    if delivery:
        _deliver(delivery, folder, shown)


def order(answers: RecordedPredictions) -> np.ndarray:
    """The places of the answers, the worst first; of classes the wrong ones alone, unless all are right.

    By loss, which of one number is by distance too; what isn't finite is worst.
    """
    loss = np.where(np.isnan(answers.loss), np.inf, answers.loss)
    if answers.classes is None and answers.prediction.shape[1] == 1:
        distance = np.abs(_residuals(answers)[:, 0])
        loss = np.where(np.isnan(distance), np.inf, distance)
    places = np.argsort(-loss, kind="stable")
    wrong = answers.target != answers.prediction
    return places[wrong[places]] if answers.classes is not None and wrong.any() else places


def pairs(answers: RecordedPredictions) -> list[tuple[int, int, int]]:
    """(class, what is said instead, how often), the most frequent first."""
    wrong = answers.target != answers.prediction
    both = np.stack([answers.target[wrong], answers.prediction[wrong]], axis=1)
    found, counts = np.unique(both, axis=0, return_counts=True)
    ranked = np.argsort(-counts, kind="stable")
    return [(*found[place].tolist(), int(counts[place])) for place in ranked]


def _answers(fitted: TrainedModel, split: str | None) -> tuple[RecordedPredictions, str]:
    """What the run says of a split (None: the one that its folder holds), and what ends the names of its figures."""
    found = kept.load_predictions(fitted.folder)
    if found is not None and split in (None, found.split):
        return found, ""
    split = split or fitted.default_split
    return fitted.predict_with_losses(split), f"_{split}"


def _view(fitted: TrainedModel, shown: Progress) -> View | None:
    """The run's data; None where it is not at hand, so that its rows can only be named."""
    try:
        return View(fitted.data, fitted.features)
    except UserError as error:
        shown.note(f"warning: the rows can be named, not shown: {error}")
        return None


def _sections(answers: RecordedPredictions, worst: np.ndarray, view: View | None) -> list[Section | None]:
    sections = [_table(answers, worst)]
    if view is not None and len(worst):
        examples = view.examples(answers.row[worst[: tables.SHOWN]])
        if set(examples.inputs) - set(images(examples)):  # images are drawn instead
            names = tables.named(answers.target[worst[: tables.SHOWN]], answers.classes)
            sections.append(tables.first(examples, names, "the first of them, as the model gets them"))
    if answers.classes is not None and (found := pairs(answers)):
        sections.append(_confusions(answers.classes, found, np.bincount(answers.target)))
    return [*sections]


def _table(answers: RecordedPredictions, worst: np.ndarray) -> Section:
    """The worst examples, one a row."""
    shown = worst[:MOST]
    columns = {
        "row": [f"{row:,}" for row in answers.row[shown]],
        "target": tables.named(answers.target[shown], answers.classes),
        "prediction": tables.named(answers.prediction[shown], answers.classes),
    }
    if answers.probability is not None:
        columns["probability"] = [f"{one:.3f}" for one in answers.probability[shown]]
    elif answers.target.shape == answers.prediction.shape:
        columns["target - prediction"] = tables.named(_residuals(answers)[shown], None)
    columns["loss"] = [number(one) for one in answers.loss[shown]]
    return Section(_title(answers), [list(columns), *map(list, zip(*columns.values(), strict=True))])


def _title(answers: RecordedPredictions) -> str:
    rows = len(answers.row)
    if answers.classes is None:
        return f"the largest errors of {rows:,} rows of {answers.split}"
    wrong = int((answers.target != answers.prediction).sum())
    if not wrong:
        return f"no mistake in {rows:,} rows of {answers.split}; the least sure"
    return f"the worst of {share(wrong, rows)} mistakes in {rows:,} rows of {answers.split}"


def _confusions(names: tuple[str, ...], found: list[tuple[int, int, int]], rows: np.ndarray) -> Section:
    body = [
        [short(names[target]), short(names[said]), f"{count:,}", f"{count / rows[target]:.1%}"]
        for target, said, count in found[:MOST_PAIRS]
    ]
    return Section("the most frequent confusions", [["is", "said", "rows", "of its rows"], *body])


def _draw_images(answers: RecordedPredictions, view: View, worst: np.ndarray, figures: Path, suffix: str) -> None:
    """Draws the worst examples, where an input is an image."""
    if not len(worst):
        return
    found = images(view.examples(answers.row[worst]))
    for name, values in found.items():
        one = f"_{name}" if len(found) > 1 else ""
        path = figures / f"worst_mistakes{one}{suffix}.png"
        grids.draw(values, _texts(answers, worst), _title(answers), path)


def _texts(answers: RecordedPredictions, worst: np.ndarray) -> list[str]:
    """`said 3 (0.98)`, `is 8`; a name that is long is cut, so that neighbours don't meet."""
    targets, said = (tables.named(values[worst], answers.classes) for values in (answers.target, answers.prediction))
    if answers.probability is None:
        return [f"said {short(one, 14)}\nis {short(right, 14)}" for one, right in zip(said, targets, strict=True)]
    return [
        f"said {short(one, 11)} ({sure:.2f})\nis {short(right, 16)}"
        for one, right, sure in zip(said, targets, answers.probability[worst], strict=True)
    ]


def _residuals(answers: RecordedPredictions) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return answers.target - answers.prediction


def _deliver(delivery: Delivery, folder: Path, shown: Progress) -> None:
    """Brings the figures to MLflow; what hinders that is told, and hinders nothing else."""
    with shown.working("bringing the figures to MLflow"):
        delivery.close(DELIVERY_SECONDS)
    if note := delivery.note():
        shown.note(f"{note}; the figures are in {folder / 'figures'}")
