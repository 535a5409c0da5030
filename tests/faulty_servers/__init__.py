"""Servers with defects to order: what the checks must find."""
