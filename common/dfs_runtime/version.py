"""The version of dfs, for programs that start: to look it up in the installation loads a parser of mail.

A test holds it equal to pyproject.toml.
"""

VERSION = "0.1.0"
