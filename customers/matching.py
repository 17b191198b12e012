"""Who is meant: the decisions of identity resolution, in memory and in the order things came."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias

Key: TypeAlias = tuple[str, str]  # (kind, value) of an identifier, normalised

CUSTOMER_ID = "customer_id"
ANONYMOUS_ID = "anonymous_id"
EMAIL = "email"
PHONE = "phone"
SHARED = frozenset({EMAIL, PHONE})  # kinds that a family may share: they join only where trusted


class Person(NamedTuple):
    """Somebody as one message names them: identifiers, the strongest first.

    `at` is when they were seen, if they were; `cause` says for people what told us.
    """

    identifiers: tuple[Key, ...]
    at: datetime | None = None
    cause: str = ""


@dataclass(eq=False)
class Profile:
    """A customer while we decide: stored already, or to be created (`id` 0 until then)."""

    id: int
    external_id: str | None
    age: tuple[int, int]  # of two, the lesser is older
    merged_into: "Profile | None" = None
    keys: set[Key] = field(default_factory=set)  # of those that came up
    parts: set[int] = field(default_factory=set)  # ids of the stored customers it consists of
    held: Counter[str] = field(default_factory=Counter)  # identifiers by kind, where limited
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None

    def current(self) -> "Profile":
        """Return who this is by now, after the merges so far."""
        profile = self
        while profile.merged_into is not None:
            profile = profile.merged_into
        return profile

    def note_seen(self, at: datetime | None) -> None:
        if at is not None:
            self.first_seen_at = min(at, self.first_seen_at or at)
            self.last_seen_at = max(at, self.last_seen_at or at)


class Absorption(NamedTuple):
    """A merge, with those identifiers that came up and were the absorbed one's at the time."""

    survivor: Profile
    absorbed: Profile
    cause: str
    keys: frozenset[Key]


@dataclass
class Matcher:
    """Decides person after person; holds what must be written when all are decided.

    `owners` has the stored owner of each identifier, and each new or moved one after it is seen.
    """

    owners: dict[Key, Profile]
    shared: frozenset[str] = SHARED
    apart: frozenset[frozenset[int]] = frozenset()  # pairs of ids that somebody has separated
    limits: Mapping[str, int] = field(default_factory=dict)  # identifiers of a kind on a profile
    created: list[Profile] = field(default_factory=list)
    claimed: dict[Key, Profile] = field(default_factory=dict)
    moved: dict[Key, Profile] = field(default_factory=dict)
    identified: dict[int, Profile] = field(default_factory=dict)
    absorptions: list[Absorption] = field(default_factory=list)

    def __post_init__(self) -> None:
        for key, profile in self.owners.items():
            profile.keys.add(key)

    def see(self, person: Person) -> Profile:
        """Return whom the person is, having noted what that changes.

        Joining identifiers look people up; the others (an e-mail that is not trusted) only where
        nothing stronger is given. Two customers with different CustomerIds stay two: the weaker
        identifier goes to the one named by the stronger. A profile that has as many identifiers
        of a kind as the limit takes no further one: that stays whose it is, or nobody's.
        """
        keys = self._telling(person)
        external_id = self._external_id(keys)
        profile, foreign = self._meet(keys, external_id, person.cause)
        if external_id is not None and profile.external_id is None:
            self._identify(profile, external_id)
        new = [key for key in person.identifiers if key not in self.owners]
        for key in (*foreign, *new):
            if self._has_room(profile, key[0]):
                self.give(key, profile)
        profile.note_seen(person.at)
        return profile

    def _external_id(self, keys: Iterable[Key]) -> str | None:
        """Return the CustomerId that is meant; one of two joined by hand goes by the other's."""
        key = next((key for key in keys if key[0] == CUSTOMER_ID), None)
        if key is None:
            return None
        owner = self.owners[key].current() if key in self.owners else None
        return owner.external_id if owner and owner.external_id else key[1]

    def _telling(self, person: Person) -> tuple[Key, ...]:
        strong = tuple(key for key in person.identifiers if key[0] not in self.shared)
        return strong or next(
            ((key,) for key in person.identifiers if key in self.owners), person.identifiers[:1]
        )

    def _meet(
        self, keys: Iterable[Key], external_id: str | None, cause: str
    ) -> tuple[Profile, list[Key]]:
        """Find or make the one profile of these keys; also return the keys others hold."""
        profile: Profile | None = None
        foreign: list[Key] = []
        for key in keys:
            owner = self.owners[key].current() if key in self.owners else None
            if owner is None or owner is profile:
                continue
            wanted = profile.external_id if profile is not None else None
            if owner.external_id and (wanted or external_id) not in (None, owner.external_id):
                foreign.append(key)
            elif profile is None:
                profile = owner
            elif self._are_apart(profile, owner) or self._are_too_many(profile, owner):
                foreign.append(key)
            else:
                profile = self._merge(profile, owner, cause)
        return profile or self._create(), foreign

    def _are_apart(self, one: Profile, other: Profile) -> bool:
        """Tell whether somebody has separated these two: no message joins them again."""
        return any(pair & one.parts and pair & other.parts for pair in self.apart)

    def _has_room(self, profile: Profile, kind: str) -> bool:
        return kind not in self.limits or profile.held[kind] < self.limits[kind]

    def _are_too_many(self, one: Profile, other: Profile) -> bool:
        """Tell whether the two would together have more identifiers of a kind than one may."""
        return any(one.held[kind] + other.held[kind] > n for kind, n in self.limits.items())

    def _create(self) -> Profile:
        profile = Profile(0, None, (1, len(self.created)))
        self.created.append(profile)
        return profile

    def _merge(self, one: Profile, other: Profile, cause: str) -> Profile:
        """Make two one: the identified survives, else the older."""
        survivor, absorbed = sorted((one, other), key=lambda p: (p.external_id is None, p.age))
        absorbed.merged_into = survivor
        self.absorptions.append(Absorption(survivor, absorbed, cause, frozenset(absorbed.keys)))
        survivor.keys |= absorbed.keys
        survivor.parts |= absorbed.parts
        survivor.held += absorbed.held
        return survivor

    def _identify(self, profile: Profile, external_id: str) -> None:
        profile.external_id = external_id
        if profile.id:
            self.identified[profile.id] = profile

    def give(self, key: Key, profile: Profile) -> None:
        """Note that the identifier is the profile's from now on."""
        if key in self.owners:
            giver = self.owners[key].current()
            giver.keys.discard(key)
            giver.held[key[0]] -= 1
        if key in self.owners and key not in self.claimed:
            self.moved[key] = profile
        else:
            self.claimed[key] = profile
        self.owners[key] = profile
        profile.keys.add(key)
        profile.held[key[0]] += 1
