"""Anatomy of fundus images by classical image processing: field of view, optic disc, cup, vessels."""
