"""SipHash-2-4 of many strings at once. TensorFlow's `to_hash_bucket_strong` and Keras's `salt` use it.

See Jean-Philippe Aumasson and Daniel J. Bernstein, SipHash, 2012, https://eprint.iacr.org/2012/351.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.feature.text.packed_strings import PackedStrings, fold_words_into, hash_strings, rotate

SEED = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def siphash(values: np.ndarray, offsets: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """SipHash-2-4 of each string, uint64 (rows,).

    Args:
        values: the bytes of the strings, uint8.
        offsets: string i is `values[offsets[i]:offsets[i + 1]]`, as in Arrow; the first may be above 0.
        key: two 64-bit numbers.
    """
    low, high = key
    initial = np.array([seed ^ half for seed, half in zip(SEED, (low, high, low, high), strict=True)], np.uint64)
    return hash_strings(values, offsets, [(0, lambda strings: _hash(strings, initial))])


def _hash(strings: PackedStrings, initial: np.ndarray) -> np.ndarray:
    state = np.repeat(initial[:, None], len(strings.start), axis=1)
    word_counts = strings.length >> 3  # of complete words, which have 8 bytes
    fold_words_into(state, strings, step_counts=word_counts, words_per_step=1, step=_compress)
    rest = strings.length & 7  # the remaining bytes; the last byte of the final word is the length
    (ending,) = strings.read_words(at=(word_counts << 3).view(np.int64), count=1)
    ending = (ending & (np.uint64(1) << (rest << 3)) - 1) | (strings.length << 56)
    v0, v1, v2, v3 = _compress(state, [ending])
    return np.bitwise_xor.reduce(_rounds([v0, v1, v2 ^ 0xFF, v3], 4))


def _compress(state: np.ndarray, data: Sequence[np.ndarray]) -> list[np.ndarray]:
    (v0, v1, v2, v3), (word,) = state, data
    v0, v1, v2, v3 = _rounds([v0, v1, v2, v3 ^ word], 2)
    return [v0 ^ word, v1, v2, v3]


def _rounds(state: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """Applies SipRound `count` times. The paper rotates to the left by n bits; here it is to the right by 64 - n."""
    v0, v1, v2, v3 = state
    for _ in range(count):
        v0, v2 = v0 + v1, v2 + v3
        v1, v3 = rotate(v1, 64 - 13) ^ v0, rotate(v3, 64 - 16) ^ v2
        v2, v0 = v2 + v1, rotate(v0, 64 - 32) + v3
        v1, v3 = rotate(v1, 64 - 17) ^ v2, rotate(v3, 64 - 21) ^ v0
        v2 = rotate(v2, 64 - 32)
    return [v0, v1, v2, v3]
