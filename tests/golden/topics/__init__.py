"""One module a subject; each declares its topics in `TOPICS`. Every module here is found by itself."""
