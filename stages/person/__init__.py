"""Skeleton, face and mask of the clip's subject, all from one estimator pass."""
