"""Title words of each preference.

No word occurs in two vocabularies, so a text encoder can separate the preferences and titles are unique.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    """Words that form the titles of one preference's items.

    Attributes:
        genre: genre of every item of the preference.
        first: first words of titles.
        second: second words of titles.
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
"""One vocabulary for each initial preference; the last one belongs to the emerging preference."""
