"""The stages of a study, one a file, and their one runner."""
