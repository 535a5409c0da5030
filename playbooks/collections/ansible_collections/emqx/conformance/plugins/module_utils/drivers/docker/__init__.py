"""Nodes in containers of this machine's Docker Engine."""
