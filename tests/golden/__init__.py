"""Golden vectors: what the reference code computed, compared with what this project computes."""
