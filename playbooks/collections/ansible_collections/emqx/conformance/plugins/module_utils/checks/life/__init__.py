"""What ends sessions, and what must not."""
