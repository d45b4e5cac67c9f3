"""The copy detector: an encoder, trained here, that finds altered copies of training photographs. No Ray import."""
