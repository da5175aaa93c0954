"""Venue adapters: codecs, links and REST behind one message port."""
