"""Which failures are known, and why: deviations of TLS stacks, and waivers."""
