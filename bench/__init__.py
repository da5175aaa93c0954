"""Benchmarks of the core, each beside its bare floor and a peer in the same run. See docs/performance.md."""
