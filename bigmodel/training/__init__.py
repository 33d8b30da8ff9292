"""Prepared data to an artefact: plain torch below, Ray Train around it."""
