"""The page at `/` to try the model."""
