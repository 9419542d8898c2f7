"""Signed feature hashing of words and character n-grams: an encoder without weights or download.

It captures spelling, not meaning: "Toy Story 2" is near "Toy Story", "film" is far from "movie". It is
stateless (no document frequencies), so that a new item never changes the vector of an old one.
"""

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.models.text.base import Vectors, unit_rows

DIMENSIONS = 256
"""Length of a vector: enough that the 30 to 60 features of a title seldom collide."""

GRAM_LENGTHS = (3, 4, 5)
"""Lengths of the character n-grams, in characters, word boundaries included."""

GRAM_WEIGHT = 0.3
"""Weight of a character n-gram beside a word, 1: a word of eight letters has 21 of them."""

RECIPE = f"hashing-1 NFKC casefold blake2b-8 dimensions={DIMENSIONS} grams={GRAM_LENGTHS} weight={GRAM_WEIGHT}"
"""Everything that determines a vector; the number in its first word increases when the algorithm changes."""

_WORD = re.compile(r"\w+")


class HashingEncoder:
    """Text encoder that adds each feature to one of 256 buckets, with a sign, both derived from a hash.

    The signs make the inner product of two texts an unbiased estimate of the one before hashing
    (Weinberger et al., Feature Hashing for Large Scale Multitask Learning, 2009).
    """

    name = "hashing"
    dimensions = DIMENSIONS
    identity = hashlib.sha256(RECIPE.encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see `TextEncoder.encode`."""
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for feature, count in Counter(_features(text)).items():
                bucket, sign = _bucket_of(feature)
                row[bucket] += sign * _weight(feature, count)
        return unit_rows(vectors)


def _features(text: str) -> Iterator[str]:
    """Yield `w<word>` for each word and `g<n-gram>` for each n-gram of a word, as often as it occurs."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    # A title of symbols alone ("???") has no words; its blank-separated pieces replace them.
    for word in _WORD.findall(folded) or folded.split():
        yield f"w{word}"
        bounded = f"<{word}>"
        for length in GRAM_LENGTHS:
            for start in range(len(bounded) - length + 1):
                yield f"g{bounded[start : start + length]}"


def _bucket_of(feature: str) -> tuple[int, float]:
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little") % DIMENSIONS, 1.0 if digest[4] & 1 else -1.0


def _weight(feature: str, count: int) -> float:
    """Sublinear term frequency, 1 + ln(count), so that a frequent word does not dominate."""
    return (1.0 if feature[0] == "w" else GRAM_WEIGHT) * (1.0 + math.log(count))
