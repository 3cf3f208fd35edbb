"""Calls a function after the last callback of a ``fit`` has ended."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras


def after_all_callbacks(callback: keras.callbacks.Callback, function: Callable[[], None]) -> None:
    """Call a function when the last callback's ``on_train_end`` has returned.

    Keras does not give a callback the list that contains it. That list is the caller of the
    callback, so it is taken from the call stack. If it is not there, the function is called now.

    Args:
        callback: The callback whose ``on_train_end`` is running.
        function: The function to call.
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
        function()
    else:
        callbacks.append(_Last(callbacks, function))


class _Last(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Temporary last callback: calls a function in ``on_train_end``, then removes itself.

    Args:
        callbacks: The list whose last callback it is.
        function: The function to call.
    """

    def __init__(self, callbacks: list[Any], function: Callable[[], None]) -> None:
        super().__init__()
        self._callbacks, self._function = callbacks, function

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Call the function.

        The last such callback removes all of them: Keras is still iterating over the list.
        """
        if self._callbacks[-1] is self:
            while isinstance(self._callbacks[-1], _Last):
                self._callbacks.pop()
        self._function()
