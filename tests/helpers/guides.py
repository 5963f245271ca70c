"""Guides in `docs/`: their files and commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

FILE = re.compile(r"```(?:yaml|python)\n# (\S+\.\w+)\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^    titrate (.*)$", re.MULTILINE)


class Guide(NamedTuple):
    """A guide, or a part of one.

    Attributes:
        text: its text.
        files: the contents of the files that it shows, by path.
        commands: the arguments of the commands that it shows.
    """

    text: str
    files: dict[str, str]
    commands: list[str]

    def write_files(self, folder: Path, monkeypatch: pytest.MonkeyPatch | None = None) -> Path:
        """Writes its files into a folder, and with `monkeypatch` puts it on the path of Python. Returns the folder."""
        if monkeypatch is not None:
            monkeypatch.syspath_prepend(str(folder))
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return folder


def read_guide(name: str, start: str = "", end: str = "") -> Guide:
    """Reads a guide, from the heading `start` to the heading `end`. Empty headings are its start and its end."""
    text = (Path(__file__).parents[2] / "docs" / name).read_text()
    text = text[text.index(f"\n## {start}") if start else 0 :]
    text = text[: text.index(f"\n## {end}") if end else None]
    return Guide(text, dict(FILE.findall(text)), COMMAND.findall(text))
