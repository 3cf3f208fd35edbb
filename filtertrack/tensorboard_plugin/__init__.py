"""The tab "Filters" in TensorBoard: finds runs below the log folders and answers a browser's page.

``loader`` is what TensorBoard imports; ``plugin`` holds the routes, ``catalogue`` finds the runs,
``answers`` says what is in them, ``wire`` packs weights, and ``static/`` is the page itself.
"""
