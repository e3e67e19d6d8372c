"""Networks: what encoders and rerankers compute with. Importing this package imports none of them."""
