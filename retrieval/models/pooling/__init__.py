"""From the states of a transformer's tokens and layers to one vector: modules of a sentence-transformers pipeline.

Two kinds. `convolution` and `scalar_mix` give new token states and stand before the usual pooling; `max_pool_bert` and
`weighted_cls` give the vector themselves. `building` knows which modules a name stands for.
"""
