"""Which machines of a cluster are for processes that shouldn't be moved."""

STEADY = {"ray.io/market-type": "!spot"}
"""A selector of Ray's labels for drivers and replicas: any machine but one that says it may be
taken away, so also each machine that says nothing."""
