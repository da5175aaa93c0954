"""Pure trading logic: no threads, no I/O, no clock, no actors."""
