from filtertrack import FilterTracker, Run


def test_the_list_of_callbacks_is_restored(tiny_model, data, tmp_path):
    """A list that is used for two fits works for both."""
    import keras

    others = [keras.callbacks.LambdaCallback(), keras.callbacks.History()]
    tracker = FilterTracker(tmp_path)
    own = keras.callbacks.CallbackList([tracker, *others], model=tiny_model, add_history=True)
    for _ in range(2):
        tiny_model.fit(*data, epochs=1, verbose=0, callbacks=own)
        assert own.callbacks == [tracker, *others]
    assert Run(tmp_path).steps == [0, 1, 2]


def test_on_train_end_called_outside_a_callback_list_ends_the_run(tiny_model, data, tmp_path):
    """At once."""
    tracker = FilterTracker(tmp_path)
    tracker.set_model(tiny_model)
    tracker.on_train_begin()
    tracker.on_epoch_begin(0)
    tiny_model.train_on_batch(*data)
    tracker.on_epoch_end(0)
    tracker.on_train_end()
    assert Run(tmp_path).steps == [0, 1]
    assert tracker._session._run_writer is None
