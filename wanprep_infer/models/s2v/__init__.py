"""The parts of the Wan2.2-S2V transformer, one a file; `wanprep_infer.models.s2v_transformer` puts them together."""
