"""Wanprep's jobs on Ray: one machine without set-up, or a cluster that is there already."""
