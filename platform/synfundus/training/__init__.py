"""Code that the annotator's and the generator's training share."""
