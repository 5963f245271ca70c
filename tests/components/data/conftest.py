"""What tests of sources share."""

import pytest


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that few rows make several."""
    monkeypatch.setattr("components.data.table.BLOCK_ROWS", 1 << 12)
