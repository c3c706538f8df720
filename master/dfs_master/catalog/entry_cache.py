"""The names that the I/O thread looked up lately, so that most look-ups of a path need no statement, the rest one.

The rule that keeps it right: **before** a transaction is committed, the committer says which names it may change, and
afterwards that it is over. A name in between is not kept, and nothing that was kept outlives the first word. So
whoever gets an answer to a change finds it in every look-up from then on, and a look-up that was overtaken by a
change (news came while it read) is made again. Names that are not there are never kept.

The reply to a `Stat` is kept as it was encoded, by the encoded request. It stands on the entries along its path, so it
goes when the last of them goes, and all replies go with any directory and with the cluster's own policy. So does what
the path of a directory leads to: files of a directory that was asked about before are found by it and their name.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from dfs_master.catalog.reader import Reader
from dfs_master.catalog.reader_tree import Found
from dfs_master.catalog.staged_tree import SETTINGS_KEY, EntryKey
from dfs_wire.codec import encode
from dfs_wire.errors import NotFoundError
from dfs_wire.messages import Entry, EntryKind, Stat, StatReply
from dfs_wire.paths import join_path, split_path

#: About 16 MiB when full, replies included.
ENTRIES_MAX = 16_384
#: News that nobody listened to: beyond so many, everything is forgotten instead.
_NEWS_MAX = 4_096
_TRIES = 3

#: The root has no parent and no name.
_ROOT_KEY: EntryKey = (0, "")
_FILE = EntryKind.FILE
_DIRECTORY = EntryKind.DIRECTORY


class _News(NamedTuple):
    """The names of a transaction: about to change (`begun`), or as they are now, `written` being what some of them are.

    A file that was just written is the likeliest to be asked for.
    """

    touched: frozenset[EntryKey]
    begun: bool
    written: Mapping[EntryKey, Found] = {}


class _Place(NamedTuple):
    """A directory, and the policy that holds for a file in it."""

    id: int
    copies: int
    source: str


class EntryCache:
    """`begin` and `end` belong to the committer's thread, everything else to one other thread: the I/O thread."""

    def __init__(self, reader: Callable[[], Reader], *, entries_max: int = ENTRIES_MAX) -> None:
        self._reader = reader
        self._entries_max = entries_max
        self._entries: dict[EntryKey, Found] = {}
        self._copies: int | None = None
        #: Encoded requests and replies; and the request, by the last entry along its path.
        self._replies: dict[bytes, bytes] = {}
        self._asked: dict[EntryKey, bytes] = {}
        #: What the paths of directories lead to, without a slash at the end; each stands on kept entries.
        self._places: dict[str, _Place] = {}
        self._news: deque[_News] = deque()
        self._lost = False
        #: Names of the transaction under way; None: nobody knows which.
        self._changing: frozenset[EntryKey] | None = frozenset()

    # -- the committer's side ----------------------------------------------------------------------------------

    def begin(self, touched: frozenset[EntryKey]) -> None:
        """These names are about to change."""
        self._tell(_News(touched, begun=True))

    def end(self, touched: frozenset[EntryKey], written: Mapping[EntryKey, Found]) -> None:
        """They have changed, or not; nothing else is under way."""
        self._tell(_News(touched, begun=False, written=written))

    def _tell(self, news: _News) -> None:
        if len(self._news) >= _NEWS_MAX:
            self._lost = True
        else:
            self._news.append(news)

    # -- the I/O thread's side ---------------------------------------------------------------------------------

    def hear(self) -> None:
        """Forget what changed. Called now and then where nothing is looked up, or the news pile up."""
        while self._news:
            touched, begun, written = self._news.popleft()
            for key in touched & self._entries.keys():
                self._drop(key)
            if SETTINGS_KEY in touched:
                self._copies = None
                self._drop_replies()
            self._changing = touched if begun else frozenset()
            for key, found in written.items():
                self._keep(key, found)
        if self._lost:
            # The flag goes down before everything is dropped: what is lost from here on sets it again.
            self._lost = False
            self._entries.clear()
            self._copies = None
            self._drop_replies()
            self._changing = None

    def reply_to(self, request: bytes) -> bytes | None:
        """The encoded reply to an encoded `Stat`, where it is known and nothing of it changes just now."""
        if self._news or self._lost:
            self.hear()
        return self._replies.get(request)

    def stat(self, path: str) -> StatReply:
        """An entry with its policy.

        Raises:
            UsageError, NotFoundError: no such path can exist, or nothing is there.
        """
        if self._news or self._lost:
            self.hear()
        known = self._known_file(path)
        if known is not None:
            place, name, found = known
            reply = StatReply(entry=_file(path, found), copies_wanted=place.copies, policy_from=place.source)
            self._keep_encoded((place.id, name), reply)
            return reply
        names = split_path(path)
        for _ in range(_TRIES):
            chain = self._walk(names)
            if chain is None:
                break
            copies, source = self._policy(chain, names)
            if self._overtaken():
                continue
            if len(chain) <= len(names):
                raise NotFoundError(f"{join_path(names)} does not exist")
            reply = StatReply(entry=_entry(names, chain[-1]), copies_wanted=copies, policy_from=source)
            self._keep_reply(chain, names, reply)
            return reply
        entry, copies, source = self._reader().stat(path)
        return StatReply(entry=entry, copies_wanted=copies, policy_from=source)

    def version_of(self, path: str) -> int:
        """The current version of the file at a path; 0 where a reader must look for itself."""
        if self._news or self._lost:
            self.hear()
        known = self._known_file(path)
        if known is not None:
            return known[2].version_id or 0
        names = split_path(path)
        chain = self._walk(names)
        if chain is None or len(chain) <= len(names) or self._overtaken():
            return 0
        return chain[-1].version_id or 0

    def copies_at(self, path: str) -> int:
        """The copies that something at this path has or would have; 0 where a reader must look for itself."""
        names = split_path(path)
        chain = self._walk(names)
        copies = 0 if chain is None else self._policy(chain, names)[0]
        return 0 if self._overtaken() else copies

    def _known_file(self, path: str) -> tuple[_Place, str, Found] | None:
        """A file that is kept, in a directory whose path is known: two look-ups instead of a walk.

        Only by its usual spelling: what is kept under another one would not be found when the file changes.
        """
        if not path.startswith("/"):
            return None
        directory, _, name = path.rpartition("/")
        place = self._places.get(directory)
        if place is None:
            return None
        found = self._entries.get((place.id, name))
        return None if found is None or found.version_id is None else (place, name, found)

    def _walk(self, names: Sequence[str]) -> list[Found] | None:
        """The entries along a path as far as they exist, the root first; None where it takes a snapshot.

        That is so where a directory on the way is changing just now: several reads could then see several moments.
        """
        if self._news or self._lost:
            self.hear()
        chain: list[Found] = []
        key, last = _ROOT_KEY, len(names)
        for depth in range(last + 1):
            found = self._entries.get(key)
            if found is None:
                changing = self._changing is None or key in self._changing
                if changing and depth < last:
                    return None
                found = self._reader().look_up(*key)
                if found is None:
                    return chain
                if not changing:
                    self._keep(key, found)
            chain.append(found)
            if depth < last:
                key = (found.id, names[depth])
        return chain

    def _overtaken(self) -> bool:
        """Whether anything changed since the walk began; if not, all that was read stands for this moment."""
        return bool(self._news) or self._lost

    def _keep(self, key: EntryKey, found: Found) -> None:
        if len(self._entries) >= self._entries_max:
            for oldest in list(islice(self._entries, max(1, self._entries_max // 8))):
                self._drop(oldest)
        self._entries[key] = found

    def _drop(self, key: EntryKey) -> None:
        """Forget an entry, and each reply that stands on it."""
        if self._entries.pop(key).version_id is None:
            self._drop_replies()
        elif (request := self._asked.pop(key, None)) is not None:
            del self._replies[request]

    def _drop_replies(self) -> None:
        self._replies.clear()
        self._asked.clear()
        self._places.clear()

    def _keep_reply(self, chain: Sequence[Found], names: Sequence[str], reply: StatReply) -> None:
        """Keep a reply while all that it stands on is kept: only then will its end be heard of."""
        if not reply.policy_from and self._copies is None:
            return
        key = _ROOT_KEY
        for depth, found in enumerate(chain):
            if depth:
                key = (chain[depth - 1].id, names[depth - 1])
            if self._entries.get(key) is not found:
                return
        self._keep_encoded(key, reply)
        if len(chain) > 1:
            directory = reply.entry.path.rpartition("/")[0]
            self._places[directory] = _Place(chain[-2].id, *self._policy(chain[:-1], names[:-1]))

    def _keep_encoded(self, key: EntryKey, reply: StatReply) -> None:
        request = encode(Stat(path=reply.entry.path))
        self._asked[key] = request
        self._replies[request] = encode(reply)

    def _policy(self, chain: Sequence[Found], names: Sequence[str]) -> tuple[int, str]:
        for depth in range(len(chain) - 1, -1, -1):
            copies = chain[depth].copies
            if copies is not None:
                return copies, join_path(names[:depth])
        if self._copies is not None:
            return self._copies, ""
        copies = self._reader().default_copies()
        if self._changing is not None and SETTINGS_KEY not in self._changing:
            self._copies = copies
        return copies, ""


def _entry(names: Sequence[str], found: Found) -> Entry:
    """The entry as the wire has it."""
    if found.version_id is not None:
        return _file(join_path(names), found)
    return Entry(join_path(names), _DIRECTORY, found.size, found.mtime_ns, found.mode, 0, found.digest)


def _file(path: str, found: Found) -> Entry:
    return Entry(path, _FILE, found.size, found.mtime_ns, found.mode, found.version_id or 0, found.digest)
