"""The scenarios of ``make scale``: each is estimated on paper and simulated on this machine."""
