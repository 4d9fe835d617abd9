"""The commands of `wanprep-infer`, one file each."""
