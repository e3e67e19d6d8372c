"""Ultra-high-dimensional sparse encoders: winner-take-all dimensions of several layers, for an inverted index.

Jang et al., "Ultra-High Dimensional Sparse Representations with Binarization for Efficient Text Retrieval", EMNLP 2021
(arXiv 2104.07198). The paper's abstract and introduction fix the idea: winner-take-all on top of BERT, buckets from
several layers, sparsity set by k, binarised matching in an inverted index. Where they leave a detail open, the module
that decides it says what was chosen.
"""
