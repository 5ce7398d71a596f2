"""A world of peers without an event loop. A failed rule shows its values, as in a test file."""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("ledger", "peer", "walking", "world")))
