"""What `bench.encoders` measures of each encoder: one module an encoder, with a constant `ENCODER`."""
