"""Embedded nodes: Erlang processes of this machine."""
