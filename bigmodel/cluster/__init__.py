"""The border to Ray's clusters: connecting to one, and submitting jobs to one."""
