"""What a generation leaves: the video file with its sound, and the side-car beside it."""
