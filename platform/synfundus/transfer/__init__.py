"""Worth of the samples: one network, trained from photographs, samples or both, and tested on photographs."""
