"""Texts as tokens: as Keras and TensorFlow Transform cut them, and as plain Python would."""

import itertools
import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature.text.string_ops import to_strings
from components.feature.tokens import Tokens, WordCount
from components.feature.vocabulary import Vocabulary
from components.types import Block, Constants, DataError, Strings, UserError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "text.json").read_text())
KERAS = GOLDEN["keras_text"]
NOTHING = Constants()
PUNCTUATION = str.maketrans("", "", string.punctuation)
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def tokens(texts: Any, **options: Any) -> list[list[str]]:
    """The tokens of each text."""
    found: Any = Tokens(key="text", **options).encode(Block({"text": texts}), {}, NOTHING)["tokens"]
    strings = found.values.tolist()
    return [strings[first:last] for first, last in itertools.pairwise(found.offsets.tolist())]


def runs(words: list[str], widths: tuple[int, ...], order: str) -> list[str]:
    """All n-grams of some words, by definition."""
    places = [(width, first) for width in widths for first in range(len(words) - width + 1)]
    if order == "tft":
        places.sort(key=lambda place: (place[1], place[0]))
    return [" ".join(words[first : first + width]) for width, first in places]


def plain(
    text: str, *, standardize: str, split: str, ngrams: Any, order: str, distinct: bool, max_tokens: int | None
) -> list[str]:
    """The definition, in plain Python, of one text."""
    text = text.replace("<br />", " ")
    if standardize in ("lower", "lower_and_strip_punctuation"):
        text = text.translate(LOWER)
    if standardize in ("strip_punctuation", "lower_and_strip_punctuation"):
        text = text.translate(PUNCTUATION)
    if split == "whitespace":
        words = [word.decode() for word in text.encode().split()]
    else:
        words = list(text) if split == "character" else [text] * (text != "")
    widths = tuple(range(1, ngrams + 1)) if isinstance(ngrams, int) else ngrams or (1,)
    found = runs(words, widths, order)
    return (list(dict.fromkeys(found)) if distinct else found)[:max_tokens]


CHARACTERS = st.sampled_from("aB .,'<>/\t\u00a0éÀ日😀") | st.characters(codec="utf-8")
TRICKY = st.sampled_from(["a<br /><br />b", "<br <br />", "B b b a B b", " "])
TEXT = st.text(CHARACTERS, max_size=12) | TRICKY
OPTIONS = st.fixed_dictionaries(
    {
        "standardize": st.sampled_from(["lower_and_strip_punctuation", "lower", "strip_punctuation", None]),
        "split": st.sampled_from(["whitespace", "character", None]),
        "ngrams": st.sampled_from([None, 1, 2, 3, (2,), (3, 1)]),
        "order": st.sampled_from(["keras", "tft"]),
        "distinct": st.booleans(),
        "max_tokens": st.sampled_from([None, 1, 3]),
    }
)


@settings(max_examples=60)
@given(st.lists(TEXT, max_size=6), OPTIONS)
def test_tokens_equal_those_of_a_simple_implementation(texts: list[str], options: dict[str, Any]) -> None:
    expected = [plain(text, **options) for text in texts]
    assert tokens(to_strings(texts), remove=("<br />",), **options) == expected


@settings(max_examples=20)
@given(st.lists(TEXT, min_size=1, max_size=6), st.data())
def test_neither_the_cuts_into_blocks_nor_a_dictionary_change_tokens(texts: list[str], data: st.DataObject) -> None:
    strings = to_strings(texts)
    stop = data.draw(st.integers(0, len(texts)))
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=9))
    whole = tokens(strings, ngrams=2, distinct=True)
    parts = [Strings(strings.data, strings.offsets[a : b + 1]) for a, b in ((0, stop), (stop, len(texts)))]
    assert [row for part in parts for row in tokens(part, ngrams=2, distinct=True)] == whole
    chosen = strings._replace(indices=np.array(rows, np.int64))
    assert tokens(chosen, ngrams=2, distinct=True) == [whole[row] for row in rows]
    array = np.array(texts)  # NumPy drops zero bytes at the end of a string
    assert tokens(array, ngrams=2, distinct=True) == tokens(to_strings(array.tolist()), ngrams=2, distinct=True)


@pytest.mark.parametrize(("key", "most", "top"), [("int", None, None), ("int_len3", 3, 2)])
def test_text_becomes_the_ids_of_keras_s_layer(key: str, most: int | None, top: int | None) -> None:
    read = Tokens(key="text", max_tokens=most).encode(Block({"text": to_strings(KERAS["docs"])}), {}, NOTHING)
    column = Vocabulary(key="words", top=top, oov=1, oov_first=True, mask="")
    block = Block({"words": read["tokens"]})
    results = {name: one.result(one.summarize(block)) for name, one in column.statistics().items()}
    learned = column.fit(results, {})
    listed = Strings(learned.host["data"], learned.host["offsets"]).tolist()
    assert listed == ["", *KERAS["vocab"][2:]][: None if top is None else top + 1]
    found: Any = column.encode(block, {"words": read}, learned)["ids"]
    rows = [found.values[first:last].tolist() for first, last in itertools.pairwise(found.offsets)]
    assert rows == [[one for one in row if one] for row in KERAS[key]]  # 0 is padding


def test_ascii_alone_is_lowered_and_split_at() -> None:
    assert tokens(to_strings(["ÀÉ İ ABC"]), split=None) == [[KERAS["lower 'ÀÉ İ' (ASCII only by default)"]]]
    assert tokens(to_strings([" a  b\tc\u00a0d "])) == KERAS["split of ' a  b\\tc\\u00a0d '"]


def test_keras_lists_n_grams_by_length_and_tensorflow_transform_by_where_they_begin() -> None:
    example = GOLDEN["tft_ngrams"]
    text = to_strings([" ".join(example["tokens"])])
    assert tokens(text, standardize=None, ngrams=3, order="tft") == [example["ngrams"]]
    assert tokens(text, standardize=None, ngrams=2) == [["One", "was", "Johnny", "One was", "was Johnny"]]
    pairs, both = KERAS["ngrams(2,) vocab"], KERAS["ngrams2 vocab of 'a b c','a b'"]
    assert {*tokens(to_strings(["a b c"]), ngrams=(2,))[0]} == {*pairs} - {"", "[UNK]"}
    assert {*tokens(to_strings(["a b c"]), ngrams=2)[0]} == {*both} - {"[UNK]"}


def test_a_separator_cuts_in_place_of_whitespace_and_empty_parts_are_no_tokens() -> None:
    texts = to_strings(["Drama|Film Noir||", "", "Comedy"])
    assert tokens(texts, separator="|", standardize=None) == [["Drama", "Film Noir"], [], ["Comedy"]]
    assert tokens(to_strings(["a::b:c"]), separator="::", standardize="lower") == [["a", "b:c"]]


def test_a_missing_text_has_no_tokens() -> None:
    column = Tokens(key="text")
    for texts in (to_strings(["a b", "c", ""]), to_strings(["c", "a b", ""])._replace(indices=np.array([1, 0, 2]))):
        block = Block({"text": texts}, valid={"text": np.array([True, False, True])})
        found: Any = column.encode(block, {}, NOTHING)["tokens"]
        assert (found.values.tolist(), found.offsets.tolist()) == (["a", "b"], [0, 2, 2, 2])
    assert tokens(np.array([None, None], object)) == [[], []]


def test_words_are_counted() -> None:
    parents = {"words": Tokens(key="text").encode(Block({"text": to_strings(["a b a", "", "c"])}), {}, NOTHING)}
    column = WordCount(key="words")
    counts: Any = column.encode(Block({}), parents, column.fit({}, {}))
    assert counts["counts"].tolist() == [3, 0, 1]
    assert np.asarray(column.layer({})(counts, {})).tolist() == [[3.0], [0.0], [1.0]]
    with pytest.raises(DataError, match="`text` has no tokens; `key` must be a column of Tokens"):
        WordCount(key="text").encode(Block({"text": to_strings(["a"])}), {}, NOTHING)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": "|"}, r"separator: '\|' never occurs in a text after `standardize`"),
        ({"separator": ""}, "must be valid strings"),
        ({"remove": ("a", "")}, "must be valid strings"),
        ({"remove": ("\ud800",)}, r"must be valid strings that aren't empty, got '\\ud800'"),
        ({"ngrams": (2, 2)}, r"ngrams: \(2, 2\) must be one length, or several different lengths"),
        ({"ngrams": ()}, r"ngrams: \(\) must"),
    ],
)
def test_meaningless_options_raise_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Tokens(key="text", **options)


def test_other_values_than_text_raise_an_error() -> None:
    for values in (np.arange(3), np.array([["a", "b"]])):
        with pytest.raises(DataError, match="column `text` of data must have one string in each row"):
            tokens(values)
    with pytest.raises(DataError, match="there is no column `text`"):
        Tokens(key="text").encode(Block({"label": np.arange(2)}), {}, NOTHING)
    with pytest.raises(UserError, match="list a column that reads them"):
        Tokens(key="text").layer({})
