"""What a run says of itself while it goes on: its file in the store, metrics, a log."""
