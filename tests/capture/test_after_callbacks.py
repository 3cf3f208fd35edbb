from filtertrack import FilterTracker, Run


def test_the_list_of_callbacks_is_as_before(tiny_model, data, tmp_path):
    """What waits for the end of ``fit`` stays in no list: a list that is used twice works twice."""
    import keras

    others = [keras.callbacks.LambdaCallback(), keras.callbacks.History()]
    tracker = FilterTracker(tmp_path)
    own = keras.callbacks.CallbackList([tracker, *others], model=tiny_model, add_history=True)
    for _ in range(2):
        tiny_model.fit(*data, epochs=1, verbose=0, callbacks=own)
        assert own.callbacks == [tracker, *others]
    assert Run(tmp_path).steps == [0, 1, 2]


def test_a_hook_called_by_hand_ends_the_run(tiny_model, data, tmp_path):
    """Where no list of Keras's calls it, ``on_train_end`` ends it at once."""
    tracker = FilterTracker(tmp_path)
    tracker.set_model(tiny_model)
    tracker.on_train_begin()
    tracker.on_epoch_begin(0)
    tiny_model.train_on_batch(*data)
    tracker.on_epoch_end(0)
    tracker.on_train_end()
    assert Run(tmp_path).steps == [0, 1]
    assert tracker._session._run_writer is None
