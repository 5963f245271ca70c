from __future__ import annotations

import pytest

from runner.display.progress import make_progress
from runner.tracking import note_missing


@pytest.mark.parametrize(
    ("note", "quiet", "is_shown"),
    [("MLflow: …", False, True), ("MLflow: …", True, False), ("warning: …", True, True)],
)
def test_a_quiet_run_shows_warnings_about_its_record_only(
    note: str, quiet: bool, is_shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    note_missing(note, make_progress(quiet=quiet), quiet=quiet)
    assert (note in "".join(capsys.readouterr())) == is_shown
