"""The metadata: schema, reading, writing. The only package of the master that knows SQL."""
