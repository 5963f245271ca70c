"""One run from a `Config` to a `Result`: prepare it, open its folder, execute it."""
