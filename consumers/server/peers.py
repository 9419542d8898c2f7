"""Servers that share the users: the partitions of `users` of each, and the server that has a user."""

from dataclasses import dataclass

from pipeline.config import ServerSettings
from pipeline.errors import ConfigError
from pipeline.streams.partitioner import partition_of


@dataclass(frozen=True)
class Peers:
    """The servers of a group, as one of them sees it.

    Attributes:
        urls: base URLs of all servers, in order; empty for a server that has all users.
        place: place of this one among them, from 0.
        partitions: number of partitions of `users`.
    """

    urls: tuple[str, ...]
    place: int
    partitions: int

    @classmethod
    def of(cls, settings: ServerSettings, partitions: int) -> "Peers":
        """Return the peers of the configuration.

        Raises:
            ConfigError: they are no group, or this server is none of them.
        """
        urls, place = settings.peers, settings.place
        problems = []
        if urls and place is None:
            problems.append("server.peers is set, and server.place is not: give each server its place in it, from 0")
        if place is not None and place >= len(urls):
            problems.append(f"server.place is {place}, and server.peers names {len(urls)} servers: name this one, too")
        if len(set(urls)) < len(urls):
            problems.append("server.peers names a server twice: each has users of its own")
        if len(urls) > partitions:
            problems.append(
                f"server.peers names {len(urls)} servers, which share the users by partition, and there are "
                f"{partitions} (log.partitions): name at most as many"
            )
        if problems:
            raise ConfigError(problems)
        return cls(tuple(urls), place or 0, partitions)

    @property
    def own(self) -> range:
        """Partitions of `users` that this server reads."""
        return range(self.place, self.partitions, self._servers)

    def place_of(self, user_id: str) -> int:
        """Place of the server that has a user."""
        return partition_of(user_id, self.partitions) % self._servers

    @property
    def _servers(self) -> int:
        return max(len(self.urls), 1)
