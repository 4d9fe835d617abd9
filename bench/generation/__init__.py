"""What `bench.generate_animate` and `bench.generate_s2v` share: models with random weights, inputs, one step's time."""
