"""Call a function after the last callback of a ``fit`` has ended."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras


def after_all_callbacks(callback: keras.callbacks.Callback, act: Callable[[], None]) -> None:
    """Call a function when the last callback's ``on_train_end`` has returned.

    Keras does not give a callback the list that contains it, but this list calls it: it is searched
    for among the callers. Where none is found, the function is called at once.

    Args:
        callback: The callback whose ``on_train_end`` is running.
        act: The function.
    """
    frame, callbacks = inspect.currentframe(), [callback]
    while frame is not None:
        caller = frame.f_locals.get("self")
        is_this_hook = frame.f_code.co_name == "on_train_end"
        if is_this_hook and isinstance(caller, keras.callbacks.CallbackList):
            callbacks = caller.callbacks
            break
        frame = frame.f_back
    if callbacks[-1] is callback:
        act()
    else:
        callbacks.append(_Last(callbacks, act))


class _Last(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Temporary last callback: calls a function in ``on_train_end``, then removes itself.

    Args:
        callbacks: The list that it is the last of.
        act: The function.
    """

    def __init__(self, callbacks: list[Any], act: Callable[[], None]) -> None:
        super().__init__()
        self._callbacks, self._act = callbacks, act

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Call the function.

        The last such callback removes all of them, because Keras is iterating over the list.
        """
        if self._callbacks[-1] is self:
            while isinstance(self._callbacks[-1], _Last):
                self._callbacks.pop()
        self._act()
