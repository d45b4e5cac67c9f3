"""Photographs in: sources, decoding, copies, patients, splits, and the datasets of prepared images."""
