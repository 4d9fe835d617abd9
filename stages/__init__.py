"""The built-in stages, found by entry point. Stages that share an estimator share a folder with it."""
