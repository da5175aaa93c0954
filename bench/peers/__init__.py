"""Other libraries on the same recorded frames. Each runs in an environment of its own: `make bench-peers`."""
