"""What to write for the flags and settings of Hydra that Titrate lacks."""

from __future__ import annotations

from collections.abc import Sequence

from components.types import UserError

OWN_FOLDERS = "Titrate reads conf/ and experiments/ in the working folder, in addition to its own. Run it there."
CHOOSE_EXPERIMENT = "Write experiment=NAME, which reads experiments/NAME.yaml."
INFO = "Write --info alone. It prints versions, folders, and each value with its origin."
FLAGS = {
    "--config-dir": OWN_FOLDERS,
    "-cd": OWN_FOLDERS,
    "--config-path": OWN_FOLDERS,
    "-cp": OWN_FOLDERS,
    "--config-name": CHOOSE_EXPERIMENT,
    "-cn": CHOOSE_EXPERIMENT,
    "--package": "Write --info, which prints each value with its key.",
    "-p": "Write --info, which prints each value with its key.",
    "--run": "A command runs without it. Leave it out. To name a finished run, write run=NAME.",
    "-r": "A command runs without it. Leave it out. To name a finished run, write run=NAME.",
    "--hydra-help": "Write --help.",
    "--experimental-rerun": "Write resume=FOLDER for the folder of a run.",
    **{f"--info {word}": INFO for word in ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")},
}
"""What to do instead, by flag, or by flag and word."""

RUN_FOLDERS = "Write folder=PATH. Each run has a folder of its own below it."
LOG = "The log of a run is log.txt in its folder. Write quiet=true to print less."
SWEEP = "Write -m and lists of values: titrate -m learning_rate=1e-3,1e-2 seed=1,2"
SETTINGS = {
    "hydra.run": RUN_FOLDERS,
    "hydra.sweep": RUN_FOLDERS,
    "hydra.mode": SWEEP,
    "hydra.sweeper": SWEEP,
    "hydra.launcher": "A sweep takes no launcher: its runs share one process and its compiled programs. Leave it out.",
    "hydra.callbacks": "Write 'observer=[NAME]'. An observer is called at each evaluation and at the end.",
    "hydra.searchpath": OWN_FOLDERS,
    "hydra.job.chdir": "Titrate stays in the working folder. Leave it out.",
    "hydra.job.name": "Write tracking.experiment=NAME, which names the experiment in MLflow.",
    "hydra.output_subdir": "config.yaml and overrides.yaml are in the folder of a run. Leave it out.",
    "hydra.job_logging": LOG,
    "hydra.hydra_logging": LOG,
    "hydra.verbose": LOG,
}
"""What to do instead, by the start of a key of Hydra's own configuration."""


def check_flags(arguments: Sequence[str]) -> None:
    """Raises UserError for a flag of Hydra that Titrate lacks."""
    for position, argument in enumerate(arguments):
        flag = argument.partition("=")[0]
        follows_info = position > 0 and arguments[position - 1] in ("--info", "-i")
        if (hint := FLAGS.get(f"--info {argument}" if follows_info else flag)) is not None:
            raise UserError(f"{argument}: {hint}")


def explain_setting(key: str) -> str:
    """What to write for a key of Hydra's own configuration, such as `hydra.run.dir` or `hydra/launcher`."""
    dotted = f"{key.replace('/', '.')}."
    hints = [hint for start, hint in SETTINGS.items() if dotted.startswith(f"{start}.")]
    return f"Hydra's own settings have no effect. {next(iter(hints), 'See --help for the settings of Titrate.')}"
