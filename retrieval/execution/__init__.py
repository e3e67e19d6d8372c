"""How texts go through a model: what a runtime is, batches that are split when memory is short, packed execution."""
