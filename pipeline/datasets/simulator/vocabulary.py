"""The words of each taste. No word is in two of them, so a text encoder can tell tastes apart and titles are unique."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    """What items of one taste are called.

    Attributes:
        genre: the tag of every item of the taste.
        first: words a title starts with.
        second: words a title ends with.
    """

    genre: str
    first: tuple[str, ...]
    second: tuple[str, ...]


def _vocabulary(genre: str, first: str, second: str) -> Vocabulary:
    return Vocabulary(genre, tuple(first.split()), tuple(second.split()))


VOCABULARIES = (
    _vocabulary(
        "Science Fiction",
        "Stellar Orbital Cosmic Lunar Galactic Robotic Quantum Martian Android Warp Alien Solar",
        "Voyage Colony Station Nebula Starship Planet Asteroid Cyborg Signal Eclipse Comet Horizon",
    ),
    _vocabulary(
        "Crime",
        "Silent Crooked Midnight Guilty Stolen Hidden Corrupt Deadly Missing Cold Ruthless Undercover",
        "Detective Alibi Heist Witness Verdict Suspect Ransom Informant Murder Gangster Evidence Fugitive",
    ),
    _vocabulary(
        "Romance",
        "Tender Secret Parisian Summer Forbidden Sweet Longing Bridal Moonlit Dear Hopeful Endless",
        "Kiss Wedding Promise Heart Valentine Letter Bride Sweetheart Affair Courtship Embrace Honeymoon",
    ),
    _vocabulary(
        "Nature Documentary",
        "Wild Arctic Tropical Hungry Giant Coral Ancient Amazonian Feathered Migrating Alpine Savage",
        "Ocean Jungle Wolves Glacier Reef Savanna Penguins Forest Whales Predators River Elephants",
    ),
    _vocabulary(
        "Sport",
        "Winning Golden Olympic Underdog Champion Rookie Heavyweight Final Relentless Varsity Undefeated Sprinting",
        "Season Marathon Knockout League Trophy Goalkeeper Stadium Coach Playoff Racer Tournament Quarterback",
    ),
    _vocabulary(
        "Cookery",
        "Spicy Rustic Sizzling Savoury Smoky Tuscan Buttery Roasted Homemade Pickled Crispy Caramel",
        "Kitchen Feast Bakery Chef Recipe Noodles Banquet Pastry Barbecue Supper Harvest Dumplings",
    ),
    _vocabulary(
        "Samurai Epic",
        "Shogun Exiled Wandering Crimson Masterless Imperial Honourable Bamboo Vengeful Feudal Thunderous Sworn",
        "Blade Ronin Dojo Katana Warlord Shrine Duel Fortress Clan Swordsman Dynasty Archer",
    ),
)
"""One for each taste there is from the start; the last is the one that emerges."""
