"""Examples of the documentation that run; tests hold them to the code."""
