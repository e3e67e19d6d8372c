"""Builders of the models that recipes train; each file's `build_model` returns a sentence-transformers model."""
