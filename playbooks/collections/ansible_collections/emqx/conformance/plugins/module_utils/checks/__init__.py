"""The catalogue: one family of checks a file, the registry, and the bench they run on."""
