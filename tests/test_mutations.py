"""A reader of a damaged file raises an error or returns what the file contains. benchmarks/mutations.py tests more."""

import subprocess
import sys
from pathlib import Path

import pytest
from slow import slow_but

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "mutations.py"
MUTATIONS = 100
READERS = [
    "idx idx.gz idx_in_gz safetensors tar tar_sealed tar.gz zip",
    "jpeg jpeg_scans jpeg_cmyk bmp bmp_palette gif webp webp_exact tiff tiff_lzw tiff_16",
    "png png_sealed_RGB png_sealed_P png_sealed_LA png_sealed_I;16",
    "csv csv_skip csv.gz csv.bz2 csv.xz yaml",
    "vocabulary vectors npy npz npy_in_npz checkpoint transform",
]


@pytest.mark.parametrize("readers", slow_but([READERS[0], READERS[4]], READERS))
def test_a_damaged_file_raises_an_error_or_is_read_correctly(readers: str) -> None:
    command = [sys.executable, str(SCRIPT), str(MUTATIONS), *readers.split()]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.count(f"{MUTATIONS} mutations") == len(readers.split())
