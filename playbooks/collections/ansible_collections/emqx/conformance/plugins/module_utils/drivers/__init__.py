"""Drivers: what starts, stops and disturbs nodes, one file a driver."""
