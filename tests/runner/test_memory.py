"""The memory check before a run, and the two lines of an error where the memory runs out."""

import logging
import re
import resource
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import runner
from components.data import Arrays
from runner import memory
from runner.__main__ import main
from runner.errors import RunError
from runner.run_folder import list_runs
from runner.training import trainer as loop

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

WORDS = ("training.epochs=1", "tracking=none", "quiet=true", "architecture.widths=[32]", "data.valid=0.1")
MB = 2**20


def set_free_memory(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(memory, "measure_free_memory", lambda: memory.FreeMemory(size, "in this test"))


def test_a_batch_that_does_not_fit_is_an_error_with_a_batch_size_that_fits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_free_memory(monkeypatch, 400_000)
    words = [*WORDS, "training.evaluation_batch_size=32"]
    assert main([*words, "training.batch_size=1000"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    pattern = (
        r"too little memory for training: .* are needed with training\.batch_size=1000, "
        r"and 400 kB are free in this test"
    )
    remedies = (
        r"\. (training\.batch_size=(\d+)) would fit\. If .*, set training\.check_memory=false for a warning only\."
    )
    found = re.fullmatch(pattern + remedies, line)
    assert found
    assert 32 < int(found[2]) < 1000
    assert not Path("outputs").exists()
    assert main([*words, found[1]]) == 0


def test_an_evaluation_that_does_not_fit_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_free_memory(monkeypatch, 120_000)
    assert main([*WORDS, "training.evaluation_batch_size=10000"]) == 1
    match = re.search(
        r"too little memory for the evaluation: .* (training\.evaluation_batch_size=\d+) would fit",
        capsys.readouterr().err,
    )
    assert match
    assert main([*WORDS, match[1]]) == 0


def test_a_model_that_never_fits_is_an_error_before_it_is_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop.Trainer, "compile_function", lambda *_: pytest.fail("compiled"))
    assert main([*WORDS, "architecture.widths=[200000,200000]"]) == 1
    assert "No batch size would fit. Choose a smaller model" in capsys.readouterr().err
    assert not Path("outputs").exists()


def source() -> Arrays:
    columns = {"image": np.zeros((60, 8, 8, 1), np.uint8), "label": np.arange(60) % 3}
    return Arrays(columns=columns, valid=12, test=12)


def test_needed_and_free_memory_are_logged_and_no_program_is_compiled_twice(caplog: pytest.LogCaptureFixture) -> None:
    with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
        result = runner.run(
            *WORDS[1:], "architecture.widths=[9]", "training.epochs=2", "training.batch_size=12", source=source()
        )
    compiled = re.findall(r"Finished XLA compilation of jit\((_\w+)\)", caplog.text)
    assert sorted(name for name in compiled if name in ("_train", "_evaluate")) == ["_evaluate", "_train"]
    log = (result.folder / "log.txt").read_text()
    assert re.search(r"training needs [\d.]+ .?B, and [\d.]+ GB are free (on|in|below)", log)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: 9 bytes"), RuntimeError("std::bad_alloc")]
)
def test_running_out_of_memory_is_reported_in_two_lines(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def give_out(*arguments: object, **options: object) -> None:
        raise error

    for place, what, remedy in (
        ("_train", "training", "Try a smaller training.batch_size (it was 32)."),
        ("_evaluate_batches", "evaluating", "Try a smaller training.evaluation_batch_size (it was 256)."),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(loop.Trainer, place, give_out)
            assert main([*WORDS, "fresh=true"]) == 1
        *_, first, second = capsys.readouterr().err.splitlines()
        assert first.startswith(f"the memory ran out while {what}: ")
        assert second == remedy
    assert main(WORDS) == 0


@pytest.mark.slow
def test_a_run_that_seems_too_large_starts_with_check_memory_false(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*WORDS, "data=digits", "training.batch_size=500"]
    assert main(words) == 0
    set_free_memory(monkeypatch, 1000)
    unchecked = [*words, "fresh=true", "training.check_memory=false"]
    assert main(unchecked) == 0
    training, evaluation = capsys.readouterr().err.splitlines()
    assert re.match("warning: too little memory for training: .* are needed with ", training)
    assert re.match("warning: too little memory for the evaluation: .* are needed with ", evaluation)
    assert len({path.name.rpartition("_")[2] for path in Path("outputs").iterdir()}) == 1  # no other run
    evaluate = ["mode=evaluate", f"run={list_runs(Path('outputs'))[0].name}"]  # the one that was checked
    assert main(evaluate) == 1
    assert main([*evaluate, "training.check_memory=false"]) == 0
    capsys.readouterr()
    assert main([*unchecked, "mode=dry_run", "quiet=false"]) == 0
    assert "\nwarning: too large for the device: " in capsys.readouterr().out


def test_other_errors_are_not_changed() -> None:
    with pytest.raises(RuntimeError, match="INTERNAL"), memory.memory_error_location("training", ""):
        raise RuntimeError("INTERNAL: broken")
    with pytest.raises(RunError, match=r"^full$"), memory.memory_error_location("training", ""):
        raise RunError("full")


@pytest.mark.parametrize(
    ("group", "limit", "taken"),
    [
        ("0::/jobs/one", "jobs/one/memory.max", "memory.current"),
        ("4:cpu,memory:/jobs/one", "memory/jobs/one/memory.limit_in_bytes", "memory.usage_in_bytes"),
    ],
)
def test_the_free_memory_of_control_groups_counts(group: str, limit: str, taken: str, tmp_path: Path) -> None:
    own, root = tmp_path / "own", tmp_path / "root"
    own.write_text(f"7:pids:/\n{group}\n")
    path = root / limit
    path.parent.mkdir(parents=True)
    path.write_text("5000\n")
    (path.parent / taken).write_text("3000\n")
    (path.parent / "memory.stat").write_text("anon 1000\ninactive_file 1500\n")
    (path.parent.parent / path.name).write_text("4000\n")
    (root / "memory.max").write_text("max\n")
    assert sorted(memory.iterate_control_group_free(root, own)) == [3500, 4000]


def limited(option: str, size: int, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own that has a limit."""
    shell = ["sh", "-c", f'ulimit {option} {size // 1024}; exec "$@"', "sh"]
    command = [*shell, sys.executable, "-m", "runner", *WORDS, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize(("option", "size"), [("-v", 250 * MB), ("-v", 1000 * MB), ("-d", 200 * MB)])
def test_a_limit_that_would_abort_jax_is_an_error_of_one_line(option: str, size: int) -> None:
    ended = limited(option, size)
    (line,) = ended.stderr.splitlines()
    assert re.fullmatch(
        r"too little memory to start JAX: about [\d.]+ .B are needed, and [\d.]+ .B are free below the limit of this "
        rf"process \(ulimit {option}\)\. Raise this limit\. If .*, set training\.check_memory=false for a warning "
        r"only\.",
        line,
    )
    assert ended.returncode == 1
    assert limited(option, size, "mode=runs").returncode == 0  # which needs no JAX


def test_a_library_that_runs_out_of_memory_is_reported_in_one_line() -> None:
    ended = limited("-v", 250 * MB, "training.check_memory=false")
    warning, line = ended.stderr.splitlines()
    assert warning.startswith("warning: too little memory to start JAX: ")
    assert line.startswith("out of memory. Free some, ")
    assert ended.returncode == 1


def test_the_limit_of_the_process_counts() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    unlimited = memory.measure_free_memory()
    taken = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    try:
        resource.setrlimit(resource.RLIMIT_AS, (taken + 64 * MB, before[1]))
        limited = memory.measure_free_memory()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert limited.bytes <= 64 * MB < unlimited.bytes
    assert "ulimit" in limited.where
