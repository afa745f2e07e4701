"""The locked requirements can be trusted and work together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.txt", "requirements-cluster.txt", "requirements-dev.txt")


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(--(extra-)?index-url|--find-links|-i )", text, re.MULTILINE)
    packages = re.split(r"^(?=\S)", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
    for package in filter(str.strip, packages):
        assert re.match(r"[a-z0-9-]+==\S+ \\\n +--hash=sha256:[0-9a-f]{64}", package), package


def test_the_tests_run_with_the_very_packages_that_experiments_run_with() -> None:
    for lock in LOCKS:
        assert pins(lock).items() <= pins("requirements-dev.txt").items()


def test_the_extra_for_clusters_changes_nothing_that_is_installed_without_it() -> None:
    base, extra = pins("requirements.txt"), pins("requirements-cluster.txt")
    assert {name: extra[name] for name in base.keys() & extra.keys()}.items() <= base.items()


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_asked_for_is_locked(lock: str) -> None:
    asked = (ROOT / lock.replace(".txt", ".in")).read_text(encoding="utf-8")
    assert set(re.findall(r"^[a-z][a-z0-9-]*", asked, re.MULTILINE)) <= pins(lock).keys()
