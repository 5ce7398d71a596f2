"""The page for applications knows every event, every field of a policy, and every method of a node that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import kexkit
from attrs import fields
from kexkit import Event, Node, Policy

PAGE = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text("utf-8")


def rows(heading: str) -> list[str]:
    """The first column of the table in that section, name by name."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    heads = re.findall(r"^\| (`[^|]*`) \|", section, re.MULTILINE)
    return [name for head in heads for name in re.findall(r"`(\w+)`", head)]


def test_every_event_has_its_row_and_says_whether_it_is_durable() -> None:
    assert sorted(rows("Read")) == sorted(event.__name__ for event in get_args(Event))
    durable = {event.__name__ for event in get_args(Event) if any(each.name == "receipt" for each in fields(event))}
    assert set(re.findall(r"^\| `(\w+)` \| yes \|", PAGE, re.MULTILINE)) == durable


def test_every_field_of_a_policy_is_told() -> None:
    assert sorted(rows("Policy")) == sorted(each.name for each in fields(Policy))


def test_every_name_on_the_page_is_there() -> None:
    for method in re.findall(r"`(?:await )?node\.(\w+)", PAGE):
        assert hasattr(Node, method), method
    for name in re.findall(r"`([A-Z]\w+)`", PAGE):
        assert hasattr(kexkit, name) or hasattr(kexkit.errors, name), name
