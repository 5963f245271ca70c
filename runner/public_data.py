"""Public data sets that `mode=download` fetches: where their files are, and their checksums.

An entry has the name of its option in `conf/data`. A checksum is that of a project that publishes it, which a comment
names; sizes and checksums are checked, so that the files of all users are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from components.types import MissingFileError


class PublicFile(NamedTuple):
    """A file of a data set.

    Attributes:
        path: where it is stored, below the folder of the data.
        url: its address.
        size: the number of bytes.
        sha256: the SHA-256 checksum, 64 hexadecimal digits.
        members: the files of a zip archive that are unpacked beside it, by their paths in the archive.
    """

    path: str
    url: str
    size: int
    sha256: str
    members: tuple[str, ...] = ()

    @property
    def member_paths(self) -> tuple[str, ...]:
        """Where the unpacked files are stored, below the folder of the data."""
        return tuple(f"{self.path.rpartition('/')[0]}/{name.rpartition('/')[2]}" for name in self.members)


class DataSet(NamedTuple):
    """A public data set.

    Attributes:
        license: its licence, as its authors state it.
        page: the page that describes it.
        files: its files.
    """

    license: str
    page: str
    files: tuple[PublicFile, ...]

    @property
    def size(self) -> int:
        """The number of bytes of all files."""
        return sum(file.size for file in self.files)


def _idx_files(folder: str, url: str, *files: tuple[str, int, str]) -> tuple[PublicFile, ...]:
    return tuple(PublicFile(f"{folder}/{name}", f"{url}/{name}", size, sha256) for name, size, sha256 in files)


# "TFDS": url_checksums/*.txt of https://github.com/tensorflow/datasets, which has sizes and SHA-256 checksums.
PUBLIC_DATA = {
    "adult": DataSet(  # TFDS, adult.txt
        "CC BY 4.0",
        "https://archive.ics.uci.edu/dataset/2/adult",
        (
            PublicFile(
                "adult/adult.data",
                "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.data",
                3_974_305,
                "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
            ),
            PublicFile(
                "adult/adult.test",
                "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.test",
                2_003_153,
                "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
            ),
        ),
    ),
    "california_housing": DataSet(  # of a copy with the size of the repository's datasets/housing/housing.csv
        "none stated",
        "https://github.com/ageron/handson-ml2",
        (
            PublicFile(
                "california_housing/housing.csv",
                "https://raw.githubusercontent.com/ageron/handson-ml2/master/datasets/housing/housing.csv",
                1_423_529,
                "8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e",
            ),
        ),
    ),
    "cifar10": DataSet(  # TFDS, cifar10.txt
        "none stated",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        (
            PublicFile(
                "cifar10/cifar-10-binary.tar.gz",
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
    ),
    "fashion_mnist": DataSet(  # TFDS, fashion_mnist.txt
        "MIT",
        "https://github.com/zalandoresearch/fashion-mnist",
        _idx_files(
            "fashion_mnist",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            (
                "train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            (
                "train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            (
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            (
                "t10k-labels-idx1-ubyte.gz",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
    ),
    "flowers": DataSet(  # TFDS, tf_flowers.txt
        "CC BY 2.0",
        "https://www.tensorflow.org/datasets/catalog/tf_flowers",
        (
            PublicFile(
                "flowers/flower_photos.tgz",
                "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",
                228_813_984,
                "4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
            ),
        ),
    ),
    "imdb": DataSet(  # TFDS, imdb_reviews.txt
        "none stated",
        "https://ai.stanford.edu/~amaas/data/sentiment",
        (
            PublicFile(
                "imdb/aclImdb_v1.tar.gz",
                "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
                84_125_825,
                "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
            ),
        ),
    ),
    "mnist": DataSet(  # TFDS, mnist.txt
        "CC BY-SA 3.0",
        "http://yann.lecun.com/exdb/mnist",
        _idx_files(
            "mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            (
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            (
                "train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            (
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            (
                "t10k-labels-idx1-ubyte.gz",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
    ),
    "movielens_100k": DataSet(  # TFDS, movielens.txt
        "research only, no redistribution",
        "https://grouplens.org/datasets/movielens/100k",
        (
            PublicFile(
                "movielens_100k/ml-100k.zip",
                "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
                4_924_029,
                "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
                members=("ml-100k/u.data",),
            ),
        ),
    ),
}


@contextmanager
def download_suggested() -> Iterator[None]:
    """Adds the command that fetches a public data set to the error of a missing file of it."""
    try:
        yield
    except MissingFileError as error:
        for name, data_set in PUBLIC_DATA.items():
            if {*error.paths} & {path for file in data_set.files for path in (file.path, *file.member_paths)}:
                remedy = f"Fetch the data with titrate mode=download data={name}"
                raise MissingFileError(f"{error}. {remedy}", error.paths) from error
        raise
