"""Clients of other TLS stacks; README.md has their contract, and what each has to be."""
