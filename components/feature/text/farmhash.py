"""FarmHash's Fingerprint64 (farmhashna::Hash64) of many strings at once.

There is one function for each range of lengths, as in the original by Geoff Pike (Google, 2014, MIT licence;
https://github.com/google/farmhash). The single-letter names are those of the original; v0, v1 and w0, w1 are its pairs
v and w.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from components.feature.text.packed_strings import PackedStrings, fold_words_into, rotate

K0, K1, K2 = np.uint64(0xC3A5C85C97CB3127), np.uint64(0xB492B66FBE98F273), np.uint64(0x9AE16A3B2F90404F)


def _hash_empty(strings: PackedStrings) -> np.ndarray:
    return np.full(len(strings.start), K2)


def _hash_up_to_3(strings: PackedStrings) -> np.ndarray:
    (word,) = strings.read_words(at=0, count=1)
    middle = word >> (strings.length >> 1 << 3) & 0xFF
    last = word >> (strings.length - 1 << 3) & 0xFF
    y, z = (word & 0xFF) + (middle << 8), strings.length + (last << 2)
    return shift_mix(y * K2 ^ z * K0) * K2


def _hash_up_to_7(strings: PackedStrings) -> np.ndarray:
    (word,) = strings.read_words(at=0, count=1)
    last = word >> (strings.length - 4 << 3) & 0xFFFFFFFF
    return _mix_16(strings.length + ((word & 0xFFFFFFFF) << 3), last, _multiplier(strings))


def _hash_up_to_16(strings: PackedStrings) -> np.ndarray:
    (first,), (b,) = strings.read_words(at=0, count=1), strings.read_ending(before=8, count=1)
    multiplier, a = _multiplier(strings), first + K2
    c = rotate(b, 37) * multiplier + a
    d = (rotate(a, 25) + b) * multiplier
    return _mix_16(c, d, multiplier)


def _hash_up_to_32(strings: PackedStrings) -> np.ndarray:
    (first, b), (before_last, last) = strings.read_words(at=0, count=2), strings.read_ending(before=16, count=2)
    multiplier, a = _multiplier(strings), first * K1
    c, d = last * multiplier, before_last * K2
    return _mix_16(rotate(a + b, 43) + rotate(c, 30) + d, a + rotate(b + K2, 18) + c, multiplier)


def _hash_up_to_64(strings: PackedStrings) -> np.ndarray:
    first, last = strings.read_words(at=0, count=4), strings.read_ending(before=32, count=4)
    multiplier = _multiplier(strings)
    a, b, c, d = first[0] * K2, first[1], last[3] * multiplier, last[2] * K2
    y = rotate(a + b, 43) + rotate(c, 30) + d
    z = _mix_16(y, a + rotate(b + K2, 18) + c, multiplier)
    e, f, g, h = first[2] * multiplier, first[3], (y + last[0]) * multiplier, (z + last[1]) * multiplier
    return _mix_16(rotate(e + f, 43) + rotate(g, 30) + h, e + rotate(f + a, 18) + g, multiplier)


def _hash_long(strings: PackedStrings) -> np.ndarray:
    """Hashes strings of more than 64 bytes: first in steps of 64 bytes, then the last 64 bytes of each string."""
    state = np.repeat(SEED[:, None], len(strings.start), axis=1)
    state[0] += strings.read_words(at=0, count=1)[0]
    step_counts = strings.length - 1 >> 6
    step = partial(_stir, multiplier=K1, factor=1)
    fold_words_into(state, strings, step_counts=step_counts, words_per_step=8, step=step)
    multiplier = K1 + ((state[2] & 0xFF) << 1)
    state[5] += strings.length - 1 & 63
    state[3] += state[5]
    state[5] += state[3]
    x, y, z, v0, v1, w0, w1 = _stir(state, strings.read_ending(before=64, count=8), multiplier, factor=9)
    return _mix_16(_mix_16(v0, w0, multiplier) + shift_mix(y) * K0 + z, _mix_16(v1, w1, multiplier) + x, multiplier)


def _stir(state: np.ndarray, data: np.ndarray, multiplier: np.ndarray | np.uint64, factor: int) -> list[np.ndarray]:
    """Updates the state x, y, z, v0, v1, w0, w1 with 64 bytes, `data` (8, rows)."""
    x, y, z, v0, v1, w0, w1 = state
    x = rotate(x + y + v0 + data[1], 37) * multiplier ^ w1 * factor
    y = rotate(y + v1 + data[6], 42) * multiplier + v0 * factor + data[5]
    z = rotate(z + w0, 33) * multiplier
    v0, v1 = _weak_mix_32(data[:4], v1 * multiplier, x + w0)
    w0, w1 = _weak_mix_32(data[4:], z + w1, y + data[2])
    return [z, y, x, v0, v1, w0, w1]


def _weak_mix_32(data: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    start = a + data[0]
    total = start + data[1] + data[2]
    return total + data[3], rotate(b + start + data[3], 21) + rotate(total, 44) + start


def _mix_16(u: np.ndarray, v: np.ndarray, multiplier: np.ndarray) -> np.ndarray:
    return shift_mix((v ^ shift_mix((u ^ v) * multiplier)) * multiplier) * multiplier


def shift_mix(word: np.ndarray) -> np.ndarray:
    return word ^ (word >> 47)


def _multiplier(strings: PackedStrings) -> np.ndarray:
    return K2 + (strings.length << 1)


def _make_seed() -> np.ndarray:
    """The initial state x, y, z, v0, v1, w0, w1."""
    mask = (1 << 64) - 1
    y = (81 * int(K1) + 113) & mask
    mixed = (y * int(K2) + 113) & mask
    return np.array([81 * int(K2) & mask, y, (mixed ^ mixed >> 47) * int(K2) & mask, 0, 0, 0, 0], np.uint64)


SEED = _make_seed()
HASH_BY_MIN_LENGTH = (  # the minimum length in bytes, and the hash of strings from that length on
    (0, _hash_empty),
    (1, _hash_up_to_3),
    (4, _hash_up_to_7),
    (8, _hash_up_to_16),
    (17, _hash_up_to_32),
    (33, _hash_up_to_64),
    (65, _hash_long),
)
