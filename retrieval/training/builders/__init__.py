"""Builders of the models that recipes train: sentence-transformers models, or networks that rank."""
