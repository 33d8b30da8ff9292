"""What data are like, before anything is trained: the figures of `check`."""
