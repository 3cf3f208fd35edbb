"""The tab "Filters" in TensorBoard, and the summaries that its other tabs show.

``loader`` is what TensorBoard imports; ``plugin`` holds the tab's routes; ``logdir`` finds the runs
below the log folders; ``server`` starts TensorBoard for ``filtertrack view``. The page itself and
its answers are in ``filtertrack.web``.
"""
