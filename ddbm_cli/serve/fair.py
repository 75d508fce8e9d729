"""A queue that is fair between clients: they take turns, however many requests one of them sends.

Turns go first by network address and then by the client's own identifier, so that inventing identifiers only divides
the turns of one's own address.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Client(NamedTuple):
    """Who sent a request: the network address, and an identifier that the client chose."""

    address: str
    name: str = ""


class FairQueue(Generic[T]):
    """Items of clients, taken in turn. Each client's own items keep their order. Not safe for threads by itself."""

    def __init__(self) -> None:
        self._lanes: dict[str, dict[str, deque[T]]] = {}

    def __len__(self) -> int:
        return sum(len(items) for lane in self._lanes.values() for items in lane.values())

    def put(self, client: Client, item: T) -> None:
        """Add an item at the end of a client's own."""
        self._lanes.setdefault(client.address, {}).setdefault(client.name, deque()).append(item)

    def drop(self, unwanted: Callable[[T], bool]) -> None:
        """Remove items."""
        for address, name in list(self._order()):
            items = self._lanes[address][name]
            kept = [item for item in items if not unwanted(item)]
            if len(kept) < len(items):
                items.clear()
                items.extend(kept)
                self._forget_if_empty(address, name)

    def take(self, most: Callable[[T], int], alike: Callable[[T], Hashable]) -> list[T]:
        """Remove and return the item whose turn it is, with others that can be done together with it.

        Args:
            most: how many can be done together with an item.
            alike: a key that is equal for items that can be done together.

        Returns:
            [] where there is nothing to do; at most one item of each client in a round.
        """
        taken: list[T] = []
        limit, key = 1, None
        found = True
        while found and len(taken) < limit:
            found = False
            for client in list(self._order()):
                item = self._lanes[client[0]][client[1]][0]
                if not taken:
                    limit, key = most(item), alike(item)
                elif alike(item) != key:
                    continue
                taken.append(item)
                found = True
                self._served(*client)
                if len(taken) >= limit:
                    break
        return taken

    def _order(self) -> Iterator[tuple[str, str]]:
        """Yield clients in the order of their turns: the first of each address, then the second of each."""
        lanes = [[(address, name) for name in lane] for address, lane in self._lanes.items()]
        for place in range(max(map(len, lanes), default=0)):
            yield from (lane[place] for lane in lanes if place < len(lane))

    def _served(self, address: str, name: str) -> None:
        """Remove a client's first item, and move the client and its address to the end of the turns."""
        lane = self._lanes.pop(address)
        items = lane.pop(name)
        items.popleft()
        if items:
            lane[name] = items
        if lane:
            self._lanes[address] = lane

    def _forget_if_empty(self, address: str, name: str) -> None:
        if not self._lanes[address][name]:
            del self._lanes[address][name]
        if not self._lanes[address]:
            del self._lanes[address]
