"""Vectors and postings on disk, and the search for the best k: numbers and ids, no text, no model."""
