"""The entry points: one file a job, and `jobs.cli`, the command that gathers them."""
