"""For all tests: what hypothesis generates is judged by its outcome, never by how long a busy machine took for it."""

from hypothesis import settings

settings.register_profile("dfs", deadline=None)
settings.load_profile("dfs")
