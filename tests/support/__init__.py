"""Servers and helpers that several tests use."""
