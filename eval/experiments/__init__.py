"""Experiments on real data: what training, poolings, dimensions and lengths are worth, measured and committed.

`python -m eval.experiments NAME --data ../shared/data` runs one study from `eval.experiments.studies` and writes
`results/NAME.json`; `RESULTS.md` is made of all of them. Training data never overlap what is measured; differences are
compared query by query (`eval.significance`).
"""
