"""Networks that say how relevant a passage is to a query, for training and for reranking: one file for each."""
