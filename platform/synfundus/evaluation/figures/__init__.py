"""The report's figures, as SVG in data URIs: the same numbers give the same bytes. None shows a photograph."""
