"""What attackers can do to a node. A failed rule shows its values, as in a test file."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.forging")
