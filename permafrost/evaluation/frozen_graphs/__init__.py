"""Frozen graphs of any origin: read, checked and cut; where they are fed and fetched, and how."""
