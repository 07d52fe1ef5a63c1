"""One version in every package.xml and setup.py, and what REP 149 asks of them."""

import ast
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ('mnssd_msgs', 'mnssd_perception', 'mnssd_training')


def setup_keywords(package: str) -> dict[str, str]:
    tree = ast.parse((ROOT / package / 'setup.py').read_text())
    call = tree.body[-1]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    return {
        keyword.arg: keyword.value.value
        for keyword in call.value.keywords
        if keyword.arg and isinstance(keyword.value, ast.Constant)
    }


def manifest(package: str) -> ElementTree.Element:
    return ElementTree.parse(ROOT / package / 'package.xml').getroot()


def test_all_packages_carry_one_version() -> None:
    versions = {manifest(package).findtext('version') for package in PACKAGES}
    assert len(versions) == 1


@pytest.mark.parametrize('package', PACKAGES[1:])
def test_setup_agrees_with_the_manifest(package: str) -> None:
    keywords = setup_keywords(package)
    assert keywords['version'] == manifest(package).findtext('version')
    assert keywords['license'] == manifest(package).findtext('license')
    assert keywords['maintainer'] == manifest(package).findtext('maintainer')


@pytest.mark.parametrize('package', PACKAGES)
def test_manifest_follows_the_rules(package: str) -> None:
    root = manifest(package)
    assert root.get('format') == '3'
    assert root.findtext('name') == package
    assert root.findtext('license') == 'Apache-2.0'
    for tag in {child.tag for child in root}:
        words = [child.text for child in root.findall(tag)]
        assert words == sorted(words), f'expected {tag} in alphabetical order'


@pytest.mark.parametrize('package', PACKAGES)
def test_changelog_names_the_package(package: str) -> None:
    lines = (ROOT / package / 'CHANGELOG.rst').read_text().splitlines()
    assert lines[1] == f'Changelog for package {package}'
    assert len(lines[0]) == len(lines[1]) == len(lines[2])
