"""Numbers as text, with a fixed number of significant digits."""

from __future__ import annotations

LARGEST_PLAIN = 1e7  # numbers below it have no exponent


def format_number(value: float, digits: int = 5) -> str:
    """A number with significant digits: 106317.2 becomes `106320`, 0.98765432 becomes `0.98765`, 1e-9 becomes `1e-09`.

    Whole numbers below 10 million keep all digits. Larger numbers, and those below 0.0001, have an exponent.
    """
    if not abs(value) < LARGEST_PLAIN:
        return f"{value:.{digits}g}"
    if value == int(value):
        return str(int(value))
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:.0f}" if abs(rounded) >= 10**digits else f"{value:.{digits}g}"
