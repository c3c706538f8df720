"""What can be done to the metadata, one module a subject. A mutation judges and stages; it never writes by itself."""
