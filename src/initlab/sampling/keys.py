"""Keys of streams: 128 bits that follow from a seed and a name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from initlab._base.errors import InvalidValueError
from initlab._base.streams import derive_key


@dataclass(frozen=True)
class Key:
    """The key of one stream of random numbers.

    Attributes
    ----------
    words
        Four numbers of 32 bits: k0 and k1, the key of Philox, and c2 and c3, the upper half of its
        counter; the lower half counts along the stream.

    Raises
    ------
    InvalidValueError
        If the words are not four whole numbers from 0 to 2^32 - 1.
    """

    words: tuple[int, int, int, int]

    def __post_init__(self) -> None:
        words = self.words
        if not (isinstance(words, tuple) and len(words) == 4) or not all(  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            isinstance(word, int) and 0 <= word < 2**32  # pyright: ignore[reportUnnecessaryIsInstance] - as above
            for word in words
        ):
            raise InvalidValueError(
                f"a key is four whole numbers from 0 to 2^32 - 1, got {self.words!r}"
            )

    @classmethod
    def derive(cls, seed: int, name: str, purpose: str = "weight") -> Key:
        """Return the key of a name, as :func:`initlab._base.streams.derive_key` hashes it.

        Parameters
        ----------
        seed
            Seed of the whole model, a whole number of at least 0.
        name
            What is drawn, such as ``"layers.0.weight"``.
        purpose
            What for: one name has an independent stream for each purpose.

        Raises
        ------
        InvalidValueError
            If the seed is none, or name or purpose is no text or holds U+001F.
        """
        for part, text in (("name", name), ("purpose", purpose)):
            if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
                raise InvalidValueError(f"{part}={text!r} is not a text such as 'layers.0.weight'")
        return cls._from_bytes(derive_key(seed, purpose, name).to_bytes(16, "little"))

    def child(self, label: str | int) -> Key:
        """Return the key of an independent stream below this one; 1 and "1" are one label."""
        text = b"".join(word.to_bytes(4, "little") for word in self.words)
        text += f"\x1f{label}".encode()
        return self._from_bytes(hashlib.blake2b(text, digest_size=16).digest())

    @classmethod
    def _from_bytes(cls, digest: bytes) -> Key:
        k0, k1, c2, c3 = (int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
        return cls((k0, k1, c2, c3))
