"""EMQX's listener configuration: which keys a release knows, what it refuses, what is filled in."""
