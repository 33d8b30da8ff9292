"""The endpoint: one artefact behind HTTP, on Ray Serve."""
