"""Strings to ids; no files, tensors or Ray."""
