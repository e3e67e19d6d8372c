"""Probes: what a score on a task does not say of an encoder.

Each probe is a module with one function that returns a frozen dataclass: numbers with intervals, how many texts they
rest on, and settings. Its `outcome()` is the same as a table for people.

- `needle`: where in a long text a passage may stand and still be found.
- `sts_aggregation`: what a year of STS is worth by the ways in which its subsets are put together.
- `geometry`: alignment and uniformity of the vectors, and their isotropy.
- `layer_sweep`: every layer and pooling of a transformer on scored pairs.
- `fertility`: what a tokenizer makes of words in many languages.
- `token_matching`: BERTScore, and `summary_ratings`: what people's ratings of summaries say of it.
"""

from __future__ import annotations
