"""The final table says how the run ended, with which figures, and where everything is."""

import sys
from pathlib import Path
from typing import Any

import pytest

from runner.report import table

SUMMARY = {
    "status": "finished",
    "epochs": 10,
    "best_epoch": 7,
    "seconds": 12.34,
    "metrics": {
        "best/train/loss": 0.1,
        "best/valid/loss": 0.2,
        "best/valid/accuracy": 0.91,
        "test/loss": 0.25,
        "test/accuracy": 0.9117,
        "steps_per_second": 1234.5,
    },
}
TRACKING = {"uri": "http://localhost:5000", "experiment": "titrate"}


def printed(capsys: pytest.CaptureFixture[str], tracking: dict[str, Any] = TRACKING, **summary: Any) -> list[str]:
    table(SUMMARY | summary, Path("outputs/run"), tracking, quiet=False)
    return capsys.readouterr().out.splitlines()


def test_a_finished_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys) == [
        "split  loss  accuracy",
        "test   0.25  0.9117",
        "valid  0.2   0.91",
        "train  0.1",
        "status      finished",
        "best epoch  7 of 10",
        "time        12.3 s, 1,234 steps/s",
        "folder      outputs/run",
        "record      http://localhost:5000",
    ]


def test_an_interrupted_run_tells_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, {}, status="interrupted", stopped_by="SIGTERM", metrics={}, best_epoch=None)
    assert lines == [
        "status  interrupted by SIGTERM; the same command (without fresh=true) goes on from here",
        "time    12.3 s",
        "folder  outputs/run",
    ]


def test_a_diverged_run_tells_what_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, status="diverged", metrics={}, error="not finite at step 3. Try a smaller learning_rate")
    assert "status      diverged: not finite at step 3. Try a smaller learning_rate" in lines


@pytest.mark.parametrize(
    ("uri", "opening"),
    [
        ("sqlite:///{here}/mlflow.db", "mlflow ui"),
        ("sqlite:////a b/mlflow.db", "mlflow ui --backend-store-uri 'sqlite:////a b/mlflow.db'"),
        ("postgresql://host/db", "mlflow ui --backend-store-uri postgresql://host/db"),
        ("https://host", "https://host"),
    ],
)
def test_the_record_is_opened_where_it_is(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str], uri: str, opening: str
) -> None:
    lines = printed(capsys, {"uri": uri.format(here=in_empty_folder), "experiment": "titrate"})
    assert lines[-1] == f"record      {opening}"


def test_a_terminal_gets_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = "\n".join(printed(capsys))
    assert "│ test  │ 0.25 │ 0.9117   │" in out
    assert "folder      outputs/run" in out


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    table(SUMMARY, Path("outputs/run"), TRACKING, quiet=True)
    assert capsys.readouterr() == ("", "")
