"""One module for each experiment, with its `TITLE` and a function `run(options)` that returns the outcomes."""
