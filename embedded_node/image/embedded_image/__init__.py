"""What a container of the embedded node does in Python: its configuration, and `emqx ctl`."""
