"""Version of the store's tables. It is written into every Parquet file."""

SCHEMA_VERSION = 1
