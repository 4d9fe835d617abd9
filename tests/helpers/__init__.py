"""Makers of small test media, stages and stores."""
