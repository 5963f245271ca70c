"""How long a run is and when it is evaluated: by epochs, steps and minutes, also if it is killed or extended."""

import functools
import json
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from disk import Killed, stopping
from killing import killed_after
from signal_handlers import returning_handlers

import runner
from components.data import Arrays
from components.types import UserError
from runner import run_folder
from runner.config.compose import configure
from runner.display.numbers import format_number
from runner.display.progress import QuietProgress, RunLength
from runner.execution import programs
from runner.execution.execute import Result, execute
from runner.program import dispatch
from runner.record import outbox
from runner.training.trainer import Trainer
from runner.training.trainer_state import TrainerState

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

WORDS = (
    *("architecture.widths=[8]", "training.batch_size=8", "learning_rate=0.01"),
    *("tracking=none", "quiet=true", "training.epochs=null"),
)
EPOCH = 5  # steps, the last with 4 examples


@pytest.fixture(autouse=True)
def dispatches_of_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dispatch takes at most two steps, so that evaluations, epochs and checkpoints cut dispatches."""
    monkeypatch.setattr(dispatch, "STEPS_PER_DISPATCH", 2)
    monkeypatch.setattr(run_folder, "ABANDONED_SECONDS", -1)


def source() -> Arrays:
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), np.uint8)
    return Arrays(columns={"image": images, "label": np.arange(60) % 3}, valid=12, test=12)


def run(*words: str) -> Result:
    return runner.run(*WORDS, *words, source=source())


def steps(result: Result) -> list[float]:
    return [record["step"] for record in result.records]


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


def arrays(folder: Path, pattern: str = "step_*.npz") -> dict[str, bytes]:
    """The arrays of the last checkpoint."""
    with np.load(max((folder / "checkpoints").glob(pattern))) as archive:
        return {name: archive[name].tobytes() for name in archive.files if name != "meta"}


def results(folder: Path) -> dict[str, Any]:
    """What must be the same however often a run was killed: results, points, and all arrays of the checkpoints."""
    values = summary(folder)
    files = sorted((folder / "checkpoints").glob("*_*.npz"))
    points = list(outbox.parse_points(outbox.read_checkpointed_points(folder).splitlines()))
    return {
        **{key: values[key] for key in ("status", "ended_by", "history", "epochs", "best_epoch")},
        "metrics": {name: value for name, value in values["metrics"].items() if name.startswith(("best/", "test/"))},
        "points": [(point.step, point.values) for point in points],
        "files": [file.name for file in files],
        "arrays": arrays(folder),
        "best": arrays(folder, "best_*.npz"),
    }


def test_a_run_of_steps_ends_within_an_epoch() -> None:
    result = run("training.steps=12")
    assert steps(result) == [5, 10, 12]
    assert [record["epoch"] for record in result.records] == [1, 2, 2.4]
    assert (result.metrics["epochs"], summary(result.folder)["ended_by"]) == (2.4, "training.steps")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["schedule=cosine", "schedule.warmup=500ep"],
            "schedule.warmup=500ep is 2,500 steps, and the run takes 5, so the learning rate of its last step is 2e-05",
        ),
        (
            ["update=[freeze]", "update.freeze.paths=[architecture/dense_0/*]", "update.freeze.until=6st"],
            "update.freeze.until=6st is 6 steps, and the run takes 5",
        ),
        (["schedule=cosine", "schedule.warmup=5st"], None),
        (
            ["update=[groups]"],
            "update.groups has no group, so it changes nothing. Add one, such as "
            "'update.groups.body={paths: [architecture/dense_0], rate: 0.1}'",
        ),
        (
            ["update=[groups,freeze]", "update.groups.body={paths: [architecture/dense_0], rate: 0.1}"],
            "update.groups.body changes nothing, because update.freeze freezes its parameters",
        ),
        (
            [
                "update=[freeze]",
                *("constraint=[max_norm,unit_norm]", "constraint.max_norm.paths=[architecture/dense_0]"),
            ],
            "constraint.max_norm changes nothing, because update.freeze freezes its parameters",
        ),
        (
            ["optimizer=ftrl", "update=[lookahead]"],
            "update.lookahead changes little, because a step of components.optimizer.ftrl forgets most of its moves",
        ),
    ],
)
def test_what_has_no_effect_in_the_run_is_shown(
    words: list[str], expected: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    run("training.steps=5", *words)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert lines == ([f"note: {expected}"] if expected else [])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["training.steps=12", "training.epochs=2"], [5, 10]),
        (["training.steps=4", "training.epochs=2"], [4]),
        (["training.steps=12", "training.evaluate_steps=7"], [7, 12]),
        (["training.epochs=2", "training.evaluate_steps=4"], [4, 8, 10]),
        (["training.epochs=1", "training.evaluate_steps=99"], [5]),
    ],
)
def test_evaluations_and_the_points_follow_the_steps(words: list[str], expected: list[int]) -> None:
    result = run(*words)
    assert steps(result) == expected
    points = list(outbox.parse_points(outbox.read_checkpointed_points(result.folder).splitlines()))
    assert [point.step for point in points] == expected
    assert [point.values["epoch"] for point in points] == [step / EPOCH for step in expected]


@pytest.mark.parametrize(
    ("words", "counts_epochs"),
    [(["training.steps=10"], True), (["training.steps=7"], False), (["training.evaluate_steps=5"], False)],
)
def test_the_display_counts_epochs_only_if_each_evaluation_ends_one(
    words: list[str], counts_epochs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[RunLength] = []
    monkeypatch.setattr(QuietProgress, "start", lambda self, length, step, monitor: lengths.append(length))
    start = time.monotonic()
    run("training.epochs=2", "training.max_minutes=1", *words)
    (length,) = lengths
    assert (length.steps_per_epoch, length.counts_epochs) == (EPOCH, counts_epochs)
    assert length.total_steps == (7 if words == ["training.steps=7"] else 10)
    assert length.end_time is not None
    assert 60 <= length.end_time - start < 90


def test_evaluations_change_no_step() -> None:
    once = run("training.steps=12", "training.evaluate_steps=12", "schedule=cosine")
    often = run("training.steps=12", "training.evaluate_steps=1", "schedule=cosine")
    assert len(often.records) == 12
    assert arrays(once.folder) == arrays(often.folder)
    losses = [record["train/loss"] for record in often.records]
    sizes = [8, 8, 8, 8, 4] * 2 + [8, 8]
    assert once.records[0]["train/loss"] == pytest.approx(np.average(losses, weights=sizes), rel=1e-6)


def test_the_schedule_spans_the_steps_of_the_run() -> None:
    result = run("training.steps=12", "schedule=cosine", "schedule.warmup=0.5ep", "learning_rate=1")
    progress = np.array([4, 9, 11]) - 2.5  # the last step of each interval, counted from 0
    expected = (1 + np.cos(np.pi * progress / 9.5)) / 2
    assert [record["learning_rate"] for record in result.records] == pytest.approx(expected.tolist(), rel=1e-5)


def test_lengths_change_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    programs._PROGRAMS.clear()
    schedules = ["schedule.warmup=2ep", "schedule.warmup=1ep", "schedule.warmup=0.5ep"]
    lengths = ["training.steps=7", "training.steps=12", "training.epochs=2"]
    for schedule, length in zip(schedules, lengths, strict=True):
        run("schedule=cosine", schedule, length, "training.evaluate_steps=3")
    (only,) = programs._PROGRAMS.values()
    assert only.train._cache_size() == 2  # two steps, and the last step of an epoch
    run("schedule=cosine", "schedule.warmup=4st", "training.steps=7")
    assert len(programs._PROGRAMS) == 2


def test_a_sweep_over_a_duration_of_one_unit_is_one_program() -> None:
    programs._PROGRAMS.clear()
    words = (*WORDS, "training.steps=5", "schedule=cosine")
    result = runner.multirun(*words, "schedule.warmup=0.05,0.5,2ep", source=source())
    assert result.status == "finished"
    assert {candidate.overrides for candidate in result.candidates} == {
        ("schedule.warmup=0.05",),
        ("schedule.warmup=0.5",),
        ("schedule.warmup=2ep",),
    }
    assert len(programs._PROGRAMS) == 2


@pytest.mark.parametrize(
    ("patience", "expected"),
    [("2", [3, 6, 9]), ("1ep", [3, 6, 9]), ("7st", [3, 6, 9, 12]), ("0.2", [3, 6, 9, 12, 15])],
)
def test_patience_counts_evaluations_or_steps(patience: str, expected: list[int]) -> None:
    """With `min_delta`, only the first evaluation, at step 3, is an improvement."""
    words = ("training.steps=60", "training.evaluate_steps=3", "training.min_delta=100")
    result = run(*words, f"training.patience={patience}")
    assert steps(result) == expected
    assert summary(result.folder)["ended_by"] == "training.patience"


@pytest.mark.parametrize(("patience", "falls"), [("1", 6), ("7st", 12), ("2ep", 15)])
def test_the_plateau_counts_evaluations_or_steps(patience: str, falls: int) -> None:
    words = ("schedule=reduce_on_plateau", "schedule.min_delta=100", f"schedule.patience={patience}")
    result = run(*words, "training.steps=21", "training.evaluate_steps=3", "schedule.cooldown=100st")
    lower = [record["step"] for record in result.records if record["learning_rate"] < 0.009]
    assert min(lower) == falls + 3  # the evaluation after the reduction


def points(folder: Path) -> list[outbox.Point]:
    return list(outbox.parse_points((folder / "points.jsonl").read_bytes().splitlines()))


def test_points_within_an_epoch_have_the_means_of_the_steps_since_the_last_point_and_change_no_step() -> None:
    plain = run("training.steps=12")
    logged = run("training.steps=12", "training.log_steps=3", "fresh=true")
    for record, expected in zip(logged.records, plain.records, strict=True):
        assert record == pytest.approx(expected, rel=1e-6)  # sums are added up in other groups
    assert arrays(logged.folder) == arrays(plain.folder)
    within = {point.step: point.values for point in points(logged.folder) if "train_step/loss" in point.values}
    assert list(within) == [3, 6, 9, 12]  # at 12 there is an evaluation, too
    assert "valid/loss" in within[12]
    assert within[3]["epoch"] == 3 / EPOCH
    assert within[3]["learning_rate"] == pytest.approx(0.01)
    for interval, start in ((3, 0), (1, EPOCH)):  # the point of step 6 has the only step since the evaluation at 5
        every = run("training.steps=12", f"training.evaluate_steps={interval}", "fresh=true")
        losses = {record["step"]: record for record in every.records}
        for name in ("loss", "accuracy"):
            assert within[start + interval][f"train_step/{name}"] == pytest.approx(
                losses[start + interval][f"train/{name}"], rel=1e-5
            )


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_points_within_an_epoch_are_the_same_after_a_kill(stop: int) -> None:
    words = ("training.steps=9", "training.log_steps=3", "training.checkpoint_minutes=1e-9")
    expected = [(point.step, point.values) for point in points(run(*words).folder)]
    shutil.rmtree("outputs")
    with killed_after(stop):
        run(*words)
    resumed = run(*words)
    assert f"resuming from step {stop} " in (resumed.folder / "log.txt").read_text()
    assert [(point.step, point.values) for point in points(resumed.folder)] == expected


class Time:
    """The seconds of training, one for each step of this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0.0
        fit, dispatch = Trainer.fit, Trainer._dispatch

        def start(trainer: Trainer, state: Any, *arguments: Any) -> Any:
            self.taken = state.seconds
            return fit(trainer, state, *arguments)

        def count(trainer: Trainer, state: Any, chunk: Any) -> Any:
            self.taken += chunk.steps
            return dispatch(trainer, state, chunk)

        monkeypatch.setattr(Trainer, "fit", start)
        monkeypatch.setattr(Trainer, "_dispatch", count)
        monkeypatch.setattr(Trainer, "seconds", lambda trainer: self.taken)


def test_the_time_ends_a_run_and_a_longer_time_continues_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dispatch takes two steps. The schedule spans all 12 steps, also where the time ends the run."""
    words = ("training.steps=12", "schedule=cosine")
    whole = run(*words)
    Time(monkeypatch)
    short = run(*words, f"training.max_minutes={7 / 60}", "fresh=true")
    assert steps(short) == [5, 7]
    assert summary(short.folder)["ended_by"] == "training.max_minutes"
    assert short.records[0] == whole.records[0]
    longer = runner.run(*WORDS, *words, f"training.max_minutes={9 / 60}", f"resume={short.folder}", source=source())
    assert steps(longer) == [5, 7, 9]
    assert json.loads((short.folder / "record.json").read_text())["tags"]["prolonged"].endswith(" minutes")
    with pytest.raises(UserError, match=r"has finished\. To extend it, set a larger training\.max_minutes"):
        runner.run(*WORDS, *words, f"training.max_minutes={9 / 60}", f"resume={short.folder}", source=source())
    last = runner.run(*WORDS, *words, "training.max_minutes=null", f"resume={short.folder}", source=source())
    assert steps(last) == [5, 7, 9, 10, 12]
    record = json.loads((short.folder / "record.json").read_text())
    assert [(end["step"], end["is_evaluated"]) for end in record["extended"]] == [(7, True), (9, True)]
    assert arrays(last.folder) == arrays(whole.folder)


def test_a_time_that_is_up_at_once_leaves_one_dispatch_and_its_evaluation() -> None:
    result = run("training.steps=12", "training.max_minutes=1e-9")
    assert (result.status, steps(result)) == ("finished", [2])


STOPPED = (
    *("training.steps=13", "training.evaluate_steps=4", "training.checkpoint_minutes=1e-9", "training.patience=90st"),
    *("schedule=reduce_on_plateau", "schedule.patience=3st", "schedule.min_delta=9", "schedule.cooldown=1ep"),
    *("optimizer=sgd", "optimizer.momentum=0.9"),
)


AVERAGED = (  # with state of each member of the update: an average, and optimizers with schedules
    *("training.steps=13", "training.evaluate_steps=4", "training.checkpoint_minutes=1e-9", "schedule=cosine"),
    *("optimizer=adam", "update=[ema,groups]", "update.ema.decay=0.8", "architecture.dropout=0.2"),
    "update.groups.body={paths: [architecture/dense_0], optimizer: {_target_: components.optimizer.ftrl}, "
    "schedule: {_target_: components.schedule.exponential, learning_rate: 0.1, decay_rate: 0.5}}",
)


@functools.cache
def uninterrupted(words: tuple[str, ...]) -> dict[str, Any]:
    """The results of a run without a stop."""
    folder = run(*words).folder
    expected = results(folder)
    assert [record["step"] for record in expected["history"]] == [4, 8, 12, 13]
    shutil.rmtree("outputs")
    return expected


@pytest.mark.parametrize(
    ("words", "stop"),
    [*((STOPPED, stop) for stop in (2, 4, 5, 7, 8, 10, 12)), *((AVERAGED, stop) for stop in (2, 4, 7, 12))],
    ids=lambda value: str(value) if isinstance(value, int) else "plateau" if value is STOPPED else "average, groups",
)
def test_a_run_is_resumed_exactly_from_any_step(words: tuple[str, ...], stop: int) -> None:
    expected = uninterrupted(words)
    command = configure([*WORDS, *words])
    with killed_after(stop):
        execute(command, source=source())
    (folder,) = run_folder.list_runs(Path("outputs"))
    execute(command, source=source())
    assert f"resuming from step {stop} " in (folder / "log.txt").read_text()
    assert results(folder) == expected
    if words is AVERAGED:
        names = "".join(expected["arrays"])
        assert all(state in names for state in ("parameters", "update_state['ema']", "['body']", "['default']"))


@pytest.mark.slow
@pytest.mark.parametrize("stop", range(20, 160, 5))
def test_a_run_is_resumed_exactly_wherever_it_is_killed(stop: int, tmp_path: Path) -> None:
    expected = uninterrupted(STOPPED)
    command = configure([*WORDS, *STOPPED])
    with stopping(tmp_path / "outputs", Killed(), stop), suppress(Killed):
        execute(command, source=source())
    execute(command, source=source())
    assert results(run_folder.list_runs(Path("outputs"))[0]) == expected


def test_a_run_is_extended_by_steps_and_repeats_lost_steps_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("schedule=cosine", "schedule.warmup=0.3", "training.evaluate_steps=4", "training.keep_checkpoints=2")
    first = run(*words, "training.steps=7")
    assert steps(first) == [4, 7]
    shutil.copytree(first.folder, tmp_path / "finished")
    extend = (*words, "training.steps=18", f"resume={first.folder}")
    longer = run(*extend)
    assert steps(longer) == [4, 7, 8, 12, 16, 18]
    last, following = (format_number(longer.records[index]["learning_rate"]) for index in (1, 2))
    assert (
        f"note: the schedule now spans 18 steps instead of 7, so the learning rate goes from {last} in step 7 to "
        f"{following} in the next one. To keep {last} from here on, stop the run and resume it with "
        "training.schedule_length=7st"
    ) in capsys.readouterr().err
    expected = results(first.folder)
    assert json.loads((first.folder / "record.json").read_text())["tags"]["prolonged"] == "7 → 18 steps"
    shutil.rmtree(first.folder)
    shutil.copytree(tmp_path / "finished", first.folder)
    for path in (first.folder / "checkpoints").glob("step_*.npz"):
        path.write_bytes(path.read_bytes()[:-100])
    run(*extend)
    found = results(first.folder)
    assert found == expected
    assert "the schedule now spans" not in capsys.readouterr().err, "it starts at step 0"
    with pytest.raises(UserError, match=r"To extend it, set a larger training\.steps"):
        run(*extend)
    with pytest.raises(UserError, match=r"may change, to larger numbers"):
        run(*words, "training.steps=17", f"resume={first.folder}")


def test_an_extended_run_keeps_the_rate_that_it_reached_with_the_length_of_its_schedule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("schedule=cosine", "schedule.final=0.1", "training.evaluate_steps=4")
    first = run(*words, "training.steps=8")
    shutil.copytree(first.folder, tmp_path / "finished")
    extend = (*words, "training.steps=20", "training.schedule_length=8st", f"resume={first.folder}")
    kept = [record["learning_rate"] for record in run(*extend).records]
    assert kept[1] == kept[2] == kept[4] < kept[0]
    printed = capsys.readouterr().err
    assert "the schedule now spans" not in printed
    assert (
        f"8 steps, and the run takes 20; later steps keep its last learning rate, {format_number(kept[1])}" in printed
    )
    shutil.rmtree(first.folder)
    shutil.copytree(tmp_path / "finished", first.folder)
    jumped = [record["learning_rate"] for record in run(*words, "training.steps=16", extend[-1]).records]
    assert jumped[1] == kept[1] < jumped[2]
    with pytest.raises(UserError, match=r"and training\.schedule_length"):
        run(*extend, "seed=3")
    again = [record["learning_rate"] for record in run(*extend).records]
    assert again[:4] == jumped, "the steps so far had the longer schedule"
    assert again[4:] == kept[4:]


@pytest.mark.parametrize(("length", "spanned"), [("3st", 3), ("0.5", 5), ("2ep", 10), ("1", 10), ("20st", 20)])
def test_a_schedule_spans_its_own_length_and_keeps_its_last_rate(length: str, spanned: int) -> None:
    words = ("schedule=linear", "training.steps=10", "training.evaluate_steps=1")
    rates = [record["learning_rate"] for record in run(*words, f"training.schedule_length={length}").records]
    steps = np.minimum(np.arange(10), spanned - 1)
    np.testing.assert_allclose(rates, 0.01 * (1 - steps / spanned), rtol=1e-5)


def test_steps_before_an_extension_between_evaluations_keep_their_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run stops at step 3. Repeated from its start, the steps 2 and 3 would be one dispatch."""
    words = ("schedule=cosine", "training.evaluate_steps=5")
    dispatch_steps = Trainer._dispatch

    def interrupt(trainer: Trainer, state: TrainerState, chunk: Any) -> Any:
        sums = dispatch_steps(trainer, state, chunk)
        if state.step == 3:
            signal.raise_signal(signal.SIGINT)
        return sums

    with monkeypatch.context() as patched, returning_handlers():
        patched.setattr(dispatch, "STEPS_PER_DISPATCH", 1)
        patched.setattr(Trainer, "_dispatch", interrupt)
        first = run(*words, "training.steps=7")
    assert [path.name for path in (first.folder / "checkpoints").glob("step_*")] == ["step_0000000003.npz"]
    shutil.copytree(first.folder, tmp_path / "interrupted")
    extend = (*words, "training.steps=10", f"resume={first.folder}")
    run(*extend)
    expected = results(first.folder)
    shutil.rmtree(first.folder)
    shutil.copytree(tmp_path / "interrupted", first.folder)
    (first.folder / "checkpoints/step_0000000003.npz").write_bytes(b"")
    run(*extend)
    assert results(first.folder) == expected


def test_an_extension_that_was_recorded_in_epochs_is_read(tmp_path: Path) -> None:
    words = ("schedule=cosine", "training.epochs=2", "training.keep_checkpoints=4")
    folder = run(*words).folder
    run("schedule=cosine", "training.epochs=3", "training.keep_checkpoints=4", f"resume={folder}")
    expected = results(folder)
    record = json.loads((folder / "record.json").read_text())
    del record["extended"]
    (folder / "record.json").write_text(json.dumps(record | {"epochs_until_step": {"2": 10}}))
    for path in (folder / "checkpoints").glob("step_*.npz"):
        if path.name != "step_0000000005.npz":
            path.unlink()
    (folder / "summary.json").unlink()
    run("schedule=cosine", "training.epochs=3", "training.keep_checkpoints=4", f"resume={folder}")
    assert results(folder) == expected


def test_every_number_of_the_schedule_is_recorded(write_module: Callable[[str, str], None]) -> None:
    write_module(
        "mine",
        "import jax.numpy as jnp\n"
        "from components.types import Scalar, Schedule\n"
        "def cycle(learning_rate: Scalar, low: Scalar = 0.85) -> Schedule:\n"
        "    def values(clock):\n"
        "        share = jnp.float32(clock.step) / jnp.float32(clock.total_steps)\n"
        "        return {'learning_rate': learning_rate, 'momentum': low + 0.1 * share}\n"
        "    return Schedule(values)\n",
    )
    Path("conf/schedule").mkdir(parents=True)
    Path("conf/schedule/cycle.yaml").write_text("_target_: mine.cycle\nlearning_rate: ${learning_rate}\n")
    result = run("schedule=cycle", "optimizer=sgd", "training.steps=10")
    assert [record["momentum"] for record in result.records] == pytest.approx([0.85 + 0.04, 0.85 + 0.09])
    assert result.records[0]["learning_rate"] == pytest.approx(0.01)
