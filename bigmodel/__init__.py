"""bigmodel: labelled Chinese text in, an autoscaled HTTP endpoint on Ray out."""

__version__ = "0.1.0"
