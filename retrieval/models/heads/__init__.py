"""Heads that score pairs of vectors which an encoder made, query and passage apart: learnt, for the few best found.

Their scores are no sum over components, so no vector index can search by them. Passages are found by cosine, and the
stored vectors of the best are scored again.
"""
