import pytest

from components.closest import closest_name, closest_names, join_names, suggest_name
from components.other_names import OTHER_NAMES

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
        ("ReLU", ["gelu", "relu"], "Did you mean relu? Allowed: gelu, relu."),
        ("mse-loss", ["mse", "Mse Loss"], "Did you mean Mse Loss? Allowed: Mse Loss, mse."),
        ("MSELoss", ["mae", "mse"], "Did you mean mse? Allowed: mae, mse."),
        ("mse_loss", ["mae", "huber"], "Allowed: huber, mae."),
        ("cross_entropy", ["softmax_cross_entropy", "mse"], "Did you mean softmax_cross_entropy? Allowed: "),
        ("age", ["AGE", "Age", "wage"], "Did you mean AGE or Age? Allowed: AGE, Age, wage."),
        ("resnet", ["resnet18", "se_resnet18", "resnet20", "wrn"], "Did you mean resnet18 or resnet20? Allowed: "),
        ("he_norma", ["he_normal", "he_normal_out"], "Did you mean he_normal? Allowed: he_normal, he_normal_out."),
        (
            "efficientnet",
            ["efficientnet_b0", "efficientnet_b1", "x"],
            "Did you mean efficientnet_b0 or efficientnet_b1?",
        ),
        ("name", ["name_1", "name_2"], "Allowed: name_1, name_2."),
        ("name", [*MANY, "x"], f"Did you mean {', '.join(MANY[:10])}, … (2 more)?"),
        ("na", ["name_1", "name_2"], "Allowed: name_1, name_2."),
        ("price", ["asking price", "x"], "Did you mean asking price? Allowed: asking price, x."),
        ("loss", ["test/loss", "closs"], "Did you mean test/loss? Allowed: closs, test/loss."),
        ("___", ["x"], "Allowed: x."),
        ("x", MANY, f"Allowed: {', '.join(MANY[:10])}, … (2 more)."),
    ],
)
def test_a_name_is_suggested(name: str, names: list[str], hint: str) -> None:
    suggestion = suggest_name(name, names)
    assert suggestion == hint if hint.endswith(".") or len(names) > 10 else suggestion.startswith(hint)


def test_another_name_stands_for_ours_once() -> None:
    spellings = [name.replace("_", "") for name in OTHER_NAMES]
    assert len(set(spellings)) == len(spellings)
    assert not [name for name, ours in OTHER_NAMES.items() if name in ours or not ours]
