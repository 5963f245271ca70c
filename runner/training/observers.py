"""`Observers`: calls the observers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from components.types import Event, Observer
from runner.errors import error_location
from runner.program.state import copy_arrays


class Observers:
    """The observers of a run.

    Args:
        observers: the observers by name.
    """

    def __init__(self, observers: Mapping[str, Observer]) -> None:
        self._observers = dict(sorted(observers.items()))

    def notify(self, event: Event, record: Mapping[str, float], weights: tuple[Any, Mapping[str, Any]]) -> None:
        """Calls the observers, in the alphabetical order of their names.

        Args:
            event: the event, whose folder is that of all observers. Each observer gets a folder of its own in it.
            record: the metrics by name.
            weights: the parameters and the model state.

        Raises:
            LocatedError: an observer raised a UserError.
            PartError: an observer of the user raised another exception.
        """
        parameters, model_state = weights
        for name, observer in self._observers.items():
            own_event = event._replace(folder=event.folder / name)
            own_event.folder.mkdir(parents=True, exist_ok=True)
            # Each observer gets a copy, which it may keep and change: the next step reuses the memory of the state.
            variables = copy_arrays({"params": parameters, **model_state})
            with error_location(f"observer.{name}"):
                observer(own_event, MappingProxyType(record), variables)
