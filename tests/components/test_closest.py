import pytest

from components.closest import closest_name, closest_names, join_names, suggest_name

MANY = [f"name_{number:02}" for number in range(12)]


def test_the_nearest_name_is_found() -> None:
    assert closest_name("nadm", ["adam", "nadam", "sgd"]) == "nadam"
    assert closest_name(1, ["10", "x"]) == "10"
    assert closest_name("optimizer", ["adam", "sgd"]) is None
    assert closest_names("adam", ["sgd", "adamw", "nadam", "adam", "adam"]) == ["adam", "nadam", "adamw"]
    assert closest_names("ab", ["abcdef", "x"], cutoff=0.4) == ["abcdef"]


def test_names_are_listed_in_order_ten_at_most() -> None:
    assert join_names(["b", "a", "b"]) == "a, b"
    assert join_names([" a", "b\n", ""]) == r"'', ' a', 'b\n'"
    assert join_names(reversed(MANY)) == f"{', '.join(MANY[:10])}, … (2 more)"


@pytest.mark.parametrize(
    ("name", "names", "hint"),
    [
        ("nadm", ["nadam", "adam"], "Did you mean nadam? Allowed: adam, nadam."),
        ("sgd", ["nadam", "adam"], "Allowed: adam, nadam."),
        ("y", ["x", " y"], "Did you mean ' y'? Allowed: ' y', x."),
        ("x", [], "Allowed: none."),
        (
            "\u00e9",
            ["e\u0301", "e"],
            "It differs from e\u0301 only in the normal form of Unicode: it is in NFC (a letter with its accent is one "
            "character), the other in NFD (an accent is a character of its own). Allowed: e, e\u0301.",
        ),
        ("name_8", MANY, "Did you mean name_08?"),
        ("x", MANY, f"Allowed: {', '.join(MANY[:10])}, … (2 more)."),
    ],
)
def test_a_name_is_suggested(name: str, names: list[str], hint: str) -> None:
    assert suggest_name(name, names) == hint
