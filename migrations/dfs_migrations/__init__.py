"""The schema's history, as Alembic scripts. A package of its own, so that an installed master migrates too."""
