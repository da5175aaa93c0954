"""Simulated venues: a matching engine behind real wire protocols. Shares no code with adapters."""
