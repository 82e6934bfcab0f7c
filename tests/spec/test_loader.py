"""YAML 1.2: what it means, where it stands, and how much of it is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pkiconf.spec.errors import Problem, SpecErrors
from pkiconf.spec.loader import load_files, parse_yaml
from tests.spec.loading import AUTHORITY, Folder


def test_text_stays_text(folder: Folder) -> None:
    """YAML 1.1 would read the country of Norway as false, and a date as a date."""
    document = folder.load(
        "authorities:\n"
        "  - { name: on, subject: { country: NO, common_name: 2031-12-31, state: yes }, not_after: 2031-12-31 }\n"
    )
    assert document.authorities[0].explicit == {
        "name": "on",
        "subject": {"country": "NO", "state": "yes", "common_name": "2031-12-31"},
        "not_after": "2031-12-31T00:00:00Z",
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n...\n", "~\n", "authorities:\ntemplates: ~\n"])
def test_nothing_declared(folder: Folder, text: str) -> None:
    """With --prune, an emptied file would otherwise retire everything."""
    (problem,) = folder.refused(text)
    assert problem.endswith("nothing is declared here")


def test_an_empty_file_among_others_is_fine(folder: Folder) -> None:
    assert len(folder.load(a="# later\n", b=AUTHORITY).authorities) == 1


def test_documents_of_one_file_add_up(folder: Folder) -> None:
    document = folder.load("authorities: [{ name: a }]\n---\nauthorities: [{ name: b }]\n")
    assert [found.spec.name for found in document.authorities] == ["a", "b"]
    assert str(document.authorities[1].at).endswith("pki.yaml:3:15")


def test_all_problems_of_all_files_at_once(folder: Folder) -> None:
    problems = folder.refused(
        a="authorities: [{ name: A }, { name: b, validty: 1y }]\n",
        b="authorities: [{ name: b }]\ntemplates: [{ name: web, authority: c }]\n",
        c="authorities:\n\t- name\n",
    )
    assert [problem.partition("  ")[0] for problem in problems] == [
        "a.yaml:1:23", "a.yaml:1:39", "b.yaml:1:23", "b.yaml:2:37", "c.yaml:2:1",
    ]  # fmt: skip


def test_anchors_and_merge_keys(folder: Folder) -> None:
    document = folder.load(
        "authorities:\n"
        "  - &one { name: one, key: &key { type: rsa, size: 4096 }, validity: 5y }\n"
        "  - { <<: *one, name: two, validity: 6y }\n"
        "  - { <<: [{ path_length: 1 }, *one], name: three }\n"
        "  - { name: four, key: *key }\n"
    )
    explicit = {found.spec.name: found.explicit for found in document.authorities}
    assert explicit["two"] == {"name": "two", "key": {"type": "rsa", "size": 4096}, "validity": "6y"}
    assert explicit["three"]["path_length"] == 1
    assert explicit["three"]["validity"] == "5y"
    assert explicit["four"]["key"] == explicit["one"]["key"]


@pytest.mark.timeout(60)
def test_a_bomb_of_aliases_is_not_unfolded(folder: Folder) -> None:
    lines = ["x0: &x0 [" + ",".join(["a"] * 10) + "]"]
    lines += [f"x{n}: &x{n} [{','.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 12)]
    (problem,) = folder.refused("\n".join(lines))
    assert "the file unfolds to more than 1,000,000 values. Use fewer aliases" in problem


@pytest.mark.timeout(60)
def test_deep_nesting_ends_early(folder: Folder) -> None:
    assert "nested deeper" in folder.refused("[" * 200_000)[0]


def test_a_byte_order_mark_and_windows_lines(folder: Folder) -> None:
    (folder.path / "pki.yaml").write_bytes("\ufeffauthorities:\r\n  - name: ca\r\n    path_lenght: 1\r\n".encode())
    with pytest.raises(SpecErrors) as caught:
        load_files([folder.path])
    assert str(caught.value.problems[0].at).endswith("pki.yaml:3:5")


def test_columns_count_characters(folder: Folder) -> None:
    (problem,) = folder.refused("authorities: [{ name: ca, subject: { common_name: Zürich €, contry: CH } }]\n")
    assert problem.startswith("pki.yaml:1:61  ")


def test_the_slow_parser_says_the_same(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its compiled half the YAML library reads the same values and places."""
    text = "authorities:\n  - { name: ca, subject: { country: NO, common_name: 'x' } }\n  - name: |\n      A\n"
    quick = folder.refused(text)
    monkeypatch.setattr("pkiconf.spec.loader.YAML", lambda typ, pure: YAML(typ=typ, pure=True))
    assert folder.refused(text) == quick


def test_what_only_yaml_1_2_allows(folder: Folder) -> None:
    """A colon inside a word of a flow mapping, which the compiled parser refuses."""
    document = folder.load(
        "settings: { base_url: http://pki.example:8000, urls: { status: 'http:\\/\\/s.example' } }\n".replace("'", '"')
    )
    assert document.settings_explicit == {
        "base_url": "http://pki.example:8000", "urls": {"status": "http://s.example"},
    }  # fmt: skip
    assert document.settings is not None
    assert document.settings.status_url == "http://s.example"


@pytest.mark.timeout(60)
def test_a_large_file_is_not_read_slowly(folder: Folder) -> None:
    (problem,) = folder.refused("# " + "x" * 800_000 + "\nauthorities: [{ name: ca\n")
    assert "not YAML" in problem


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="abN :-[]{}&*!|>'\"#%?,\n\t~<0.1xé\x00", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    problems: list[Problem] = []
    roots = parse_yaml(text, "any.yaml", problems)
    assert problems or all(root.at.line > 0 for root in roots)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["name", "key", "subject", "validity", "names", "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_values_are_loaded_or_refused(tmp_path: Path, values: object) -> None:
    import json

    path = tmp_path / "any.yaml"
    path.write_text(json.dumps({"authorities": [values], "templates": values, "settings": values}), encoding="utf-8")
    with pytest.raises(SpecErrors) as caught:
        load_files([path], environment={})
    assert all(problem.at.file == str(path) for problem in caught.value.problems)


def test_a_thousand_objects_are_read(tmp_path: Path) -> None:
    lines = ["authorities:"]
    for number in range(100):
        lines.append(f"  - name: ca-{number}")
        lines.append(f"    subject: {{ common_name: CA {number}, organization: Example Corp, country: NL }}")
        lines.append("    key: { type: ec, curve: p384 }\n    validity: 10y\n    crl: { validity: 7d }")
    lines.append("templates:")
    for number in range(900):
        lines.append(f"  - name: web-{number}\n    authority: ca-{number % 100}\n    starter: web-server")
        lines.append('    validity: 90d\n    names:\n      allow:\n        dns: ["*.corp.example"]')
    path = tmp_path / "many.yaml"
    path.write_text("\n".join(lines))
    assert len(load_files([path]).templates) == 900
