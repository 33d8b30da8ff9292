"""Models for other places than a Ray cluster."""
