"""`Observers`: calls the observers of a run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax

from components.types import Event, Observer, UserError
from runner.errors import error_location
from runner.program.parts import part_name


class Observers:
    """The observers of a run.

    Args:
        observers: the observers by name.

    Raises:
        UserError: an observer doesn't take `(event, record, variables)`.
    """

    def __init__(self, observers: Mapping[str, Observer]) -> None:
        self._observers = dict(sorted(observers.items()))
        for name, observer in self._observers.items():
            with error_location(f"observer.{name}"):
                _check_signature(observer)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._observers)

    def notify(self, event: Event, record: Mapping[str, float], weights: tuple[Any, Mapping[str, Any]]) -> None:
        """Calls the observers, in the alphabetical order of their names.

        Args:
            event: the event. Its folder is created.
            record: the metrics by name.
            weights: the parameters and the model state, in arrays that no later step reuses.

        Raises:
            LocatedError: an observer raised a UserError.
            PartError: an observer of the user raised another exception.
        """
        if self._observers:
            event.folder.mkdir(exist_ok=True)
        parameters, model_state = weights
        for name, observer in self._observers.items():
            # Each gets dictionaries of its own, so changes of them affect neither the run nor other observers.
            variables = jax.tree.map(lambda leaf: leaf, {"params": parameters, **model_state})
            with error_location(f"observer.{name}"):
                observer(event, MappingProxyType(record), variables)


def _check_signature(observer: Observer) -> None:
    signature = inspect.signature(observer)
    try:
        signature.bind("event", "record", "variables")
    except TypeError as error:
        raise UserError(f"{part_name(observer)} takes {signature}. It must take (event, record, variables).") from error
