"""Which client stacks resume on which nodes: clients of others, judged on the wire."""
