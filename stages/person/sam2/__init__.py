"""SAM2 (Ravi et al., 2024) follows the subject through a clip from points on the skeleton."""
