"""Losses, one in each file: a function of vectors with its formula, and `build_loss`, by which recipes name it."""
