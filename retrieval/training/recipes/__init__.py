"""Built-in recipes, one in each file, with their papers' settings."""
