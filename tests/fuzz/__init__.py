"""Hostile bytes: what whoever answers on the target's port may send, and what must come of it."""
