"""Readers of training examples: files and folders of pairs, tuples with hard negatives, labelled pairs, sentences."""

from __future__ import annotations

from retrieval.training.data.examples import ExampleReport
from retrieval.training.data.sources import Source, read_source

__all__ = ["ExampleReport", "Source", "read_source"]
