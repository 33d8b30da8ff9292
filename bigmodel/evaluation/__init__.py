"""Raw texts through an artefact to figures that can be trusted and compared."""
