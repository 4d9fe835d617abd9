"""A plug-in distribution that is found through its entry points, as a stranger's would be."""
