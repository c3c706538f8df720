"""The metadata: schema, reading, writing. The only package of the master that knows SQL.

Schema      `models` is its one source, `views` is for people, `migrate` brings a file up to it, `fresh` makes a new
            one, `sqlite` and `dialect` hold what is SQLite's own, `engine` opens connections, `statements` runs SQL at
            the driver's speed.
Reading     `reader` and `reader_…`: one `Reader` a thread, each with a connection of its own.
Writing     `mutations/` judge one request each and stage what it does; `committer` queues them and runs a group as one
            transaction (`group`); `staging`, `staged_tree` and `staged_content` are what a group sees and leaves
            behind, on `overlay`s of `rows`; `ids` and `requests` give out ids and recall outcomes.

Threads: `Committer.submit` and `commit_seq` belong to everybody; everything below it (group, staging, overlays, ids,
contexts) belongs to the committer's one thread. Mutations, rows and statements are immutable and go anywhere.
"""
