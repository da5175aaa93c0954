"""The page and the metrics: a process of its own that knows the core by its control socket.

It decides nothing about orders and holds no state that matters: it may be killed at any moment.
"""
