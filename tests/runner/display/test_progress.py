"""The display of progress: a live line on a terminal, a line for each epoch elsewhere, only notes if quiet."""

import io
import re
import sys
import time

import pytest
from rich.console import Console

from runner.display import progress
from runner.display.progress import PlainProgress, Progress, RunLength, TerminalProgress, make_progress

RECORD = {"epoch": 3, "step": 300, "train/loss": 0.123456, "valid/accuracy": 0.9117, "learning_rate": 1e-3}


def show_run(display: Progress) -> None:
    """Shows a run from start to end."""
    display.note("resuming from step 200")
    display.start(RunLength(2000, 100), 200)
    display.show_step(250, 123.4, {"train/loss": 0.25})
    display.show_evaluation(300, RECORD, 2.14, True)
    display.close()
    display.close()


@pytest.fixture
def terminal() -> tuple[TerminalProgress, io.StringIO]:
    out = io.StringIO()
    return TerminalProgress(Console(file=out, force_terminal=True, width=140, _environ={})), out


def test_each_epoch_is_a_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    show_run(make_progress(quiet=False))
    assert capsys.readouterr().out.splitlines() == [
        "resuming from step 200",
        "epoch  3/20  valid/accuracy 0.9117  train/loss 0.12346  learning_rate 0.001  2.1 s  *",
    ]


def test_an_epoch_that_is_not_the_best_has_no_star(capsys: pytest.CaptureFixture[str]) -> None:
    display = PlainProgress()
    display.start(RunLength(45, 5), 0)
    display.show_evaluation(5, {"train/loss": float("nan")}, 1.0, is_best=False)
    assert capsys.readouterr().out == "epoch 1/9  train/loss nan  1.0 s\n"


def test_metrics_stand_before_the_losses_of_targets(capsys: pytest.CaptureFixture[str]) -> None:
    display = PlainProgress()
    display.start(RunLength(45, 5), 0, "valid/loss")
    names = ["train/loss", "train/a/loss", "train/a/mae", "valid/loss", "valid/a/loss", "valid/b/loss", "valid/a/mae"]
    display.show_evaluation(5, dict.fromkeys(names, 1), 1.0, is_best=False)
    words = capsys.readouterr().out.split()
    assert [word for word in words if "/" in word[1:]][1:] == [
        *("valid/loss", "valid/a/mae", "valid/a/loss", "valid/b/loss"),
        *("train/loss", "train/a/mae", "train/a/loss"),
    ]


def test_a_run_that_is_evaluated_within_epochs_counts_steps(
    terminal: tuple[TerminalProgress, io.StringIO], capsys: pytest.CaptureFixture[str]
) -> None:
    display, out = terminal
    for shown in (PlainProgress(), display):
        shown.start(RunLength(2000, 300, counts_epochs=False, end_time=time.monotonic() + 61.9), 0)
        shown.show_step(50, 1.0, {})
        shown.show_evaluation(400, {"train/loss": 0.5}, 1.0, is_best=False)
        shown.close()
    assert capsys.readouterr().out == "step  400/2000  train/loss 0.5  1.0 s\n"
    for part in ("step   50/2000", "0:01:0", "step  400/2000  train/loss 0.5"):
        assert part in out.getvalue()


def test_long_work_gets_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with PlainProgress().working("compiling"):
        pass
    assert capsys.readouterr().out == ""
    clock = iter([0.0, 4.2])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with PlainProgress().working("compiling"):
        pass
    assert capsys.readouterr().out == "compiling took 4.2 s\n"


def test_quiet_prints_notes_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    show_run(make_progress(quiet=True))
    assert capsys.readouterr() == ("", "resuming from step 200\n")


def test_a_terminal_gets_the_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_progress(quiet=False), TerminalProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_progress(quiet=False), PlainProgress)


def test_the_live_line_shows_position_pace_and_remaining_time(terminal: tuple[TerminalProgress, io.StringIO]) -> None:
    display, out = terminal
    show_run(display)
    for part in ("epoch  3/20", "step 50/100", "123.4 steps/s", "train/loss 0.25", "0:00:14 left", "2.1 s  *"):
        assert part in out.getvalue()


def test_the_live_line_shows_the_current_work(
    terminal: tuple[TerminalProgress, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    display, out = terminal
    monkeypatch.setattr(progress, "MIN_SECONDS", 0.0)
    with display.working("compiling [the step]"):
        time.sleep(2 / progress.REFRESHES_PER_SECOND)
    display.close()
    assert "compiling [the step] … 0 s" in out.getvalue()
    assert "compiling [the step] took 0." in out.getvalue()


@pytest.mark.parametrize("kind", ["plain", "terminal", "quiet"])
def test_a_closed_terminal_is_ignored(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class ClosedStream(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stdout", ClosedStream())
    monkeypatch.setattr(sys, "stderr", ClosedStream())
    if kind == "terminal":
        show_run(TerminalProgress(Console(file=ClosedStream(), force_terminal=True, _environ={})))
    else:
        show_run(make_progress(quiet=kind == "quiet"))


MANY = {
    "train/loss": 0.14302,
    "train/accuracy": 0.95719,
    "learning_rate": 2.7822e-05,
    "valid/loss": 0.041898,
    "valid/accuracy": 0.98519,
}


@pytest.mark.parametrize("sweep_position", ["", "12/100"])
@pytest.mark.parametrize("width", [60, 80, 119, 120, 140, 240])
def test_each_line_of_progress_fits_the_terminal(
    width: int, sweep_position: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "MIN_SECONDS", 60.0)
    out = io.StringIO()
    display = TerminalProgress(Console(file=out, force_terminal=True, width=width, _environ={}), sweep_position)
    display.start(RunLength(1_000_000, 10_000), 0, "valid/accuracy")
    display.show_step(123_456, 1234.5, MANY)
    display._live.refresh()
    display.show_evaluation(123_456, MANY, 12.3, is_best=True)
    with display.working(f"reading {'a' * 200}"):
        display._live.refresh()
    display.close()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "\n", plain).splitlines()
    assert max(map(len, lines)) <= width
    live = next(line for line in reversed(lines) if " left" in line)
    assert live.startswith(f"{sweep_position}  epoch  13/100" if sweep_position else "epoch  13/100")
    assert ("steps/s" in live) == (width >= progress.WIDE_TERMINAL)
    assert "valid/accuracy 0.98519" in live or "valid/accuracy" not in live
    assert any(line.startswith("reading aaaa") and line.rstrip().endswith("s") for line in lines)
    if not sweep_position:
        assert sum(line.startswith("epoch  13/100  valid/accuracy 0.98519  ") for line in lines) >= 1
        assert any(line.rstrip().endswith("12.3 s  *") for line in lines)
        assert any("learning_rate" in line for line in lines) == (width > 120)


def test_how_long_work_took_is_broken_at_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MIN_SECONDS", -1.0)
    out = io.StringIO()
    display = TerminalProgress(Console(file=out, force_terminal=True, width=40, _environ={}))
    with display.working("compiling the training step for 16 examples (the last batch)"):
        pass
    display.close()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", out.getvalue())
    assert re.search(
        r"^compiling the training step for 16\nexamples \(the last batch\) took 0\.0 s$", plain, re.MULTILINE
    )


def test_metrics_that_do_not_fit_are_left_out_whole() -> None:
    texts = ["a 1", "b 22", "c 333"]
    assert progress.fit_texts(texts, 100) == texts
    assert progress.fit_texts(texts, 18) == texts
    assert progress.fit_texts(texts, 17) == ["a 1", "b 22", "…"]
    assert progress.fit_texts(texts, 13) == ["a 1", "…"]
    assert progress.fit_texts(texts, 3) == ["…"]
    assert progress.fit_texts([], 0) == []
