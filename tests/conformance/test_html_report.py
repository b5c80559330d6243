"""The HTML page of a check, in a real browser: it opens offline, filters, and its links lead where they say."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from helpers import ROOT

from refcodec.checker import Report, Result, Verdict, load_manifest
from refcodec.checker.badge import badge
from refcodec.checker.manifest import Decoded

pytest.importorskip("jinja2", reason="the extra 'report' is not installed")
pytest.importorskip("markdown_it", reason="the extra 'report' is not installed")
from refcodec.checker.html_report import page
from refcodec.checker.spec_page import clauses, read_spec

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
           "--disable-component-update", "--disable-sync"]
GUILTY = "element_type=bfloat16"
BROKEN, REJECTED = "p-others", "x-r7_2-1-type-0"
HOSTILE = "<script>alert(1)</script><img src=https://example.org/x onerror=alert(2)>"


@pytest.fixture(scope="module")
def suite():
    return load_manifest(ROOT / "conformance" / "manifest.json")


@pytest.fixture(scope="module")
def manifest(suite):
    """A part of the suite: a browser is quicker with it."""
    return replace(
        suite, streams=tuple(
            s for i, s in enumerate(suite.streams)
            if i % 7 == 0 or s.id in ("smoke", BROKEN, REJECTED) or "R7.2" in str(s.requirements) or s.kind == "limit"))


def a_report(manifest, name: str, failures: dict) -> Report:
    """A report as a check would give it. failures: id to (verdict, detail)."""
    results = [
        Result(s, *failures.get(s.id, (Verdict.PASS, "")), seconds=0.01, command=f"{name} decode {s.id}.omc OUTDIR")
        for s in manifest.streams
    ]
    return Report(name, manifest, results, results[0], seconds=1.5, hello={"name": name, "version": "1.0"})


@pytest.fixture(scope="module")
def pages(manifest, tmp_path_factory):
    """Pages: all PASS, two decoders of which one fails twice, with hostile words, and one that is wrong in one type."""
    folder = tmp_path_factory.mktemp("pages")
    good = a_report(manifest, "good", {}).data()
    bad = a_report(manifest, "bad", {BROKEN: (Verdict.FAIL, "tensor 0 'w': element 1 is 0x01, expected 0x00"),
                                     REJECTED: (Verdict.WRONG_ACCEPT, HOSTILE)}).data()
    one = a_report(manifest, "one", {s.id: (Verdict.FAIL, "") for s in manifest.streams
                                     if isinstance(s.expected, Decoded) and GUILTY in s.features}).data()
    for name, runs in (("pass", [good]), ("mixed", [good, bad]), ("guilty", [one])):
        (folder / f"{name}.html").write_text(page(runs, manifest), encoding="utf-8")
    return folder


def test_the_page_of_the_whole_suite_is_small_and_whole(suite):
    failures = {
        BROKEN: (Verdict.FAIL, "tensor 0 'w': element 1 is 0x01, expected 0x00"),
        REJECTED: (Verdict.WRONG_ACCEPT, HOSTILE)
    }
    text = page([a_report(suite, "good", {}).data(), a_report(suite, "bad", failures).data()], suite)
    assert len(text.encode()) < 6 << 20
    assert text.count("<table") == text.count("</table>")
    assert HOSTILE not in text
    assert text.count('class="failure fail"') == 2
    assert not re.search(r"""<[^>]*\s(src|srcset|action)=""", text)
    assert not re.search(r"@import|url\((?!data:)", text)


def test_every_clause_and_requirement_of_the_text_is_there(pages, manifest):
    text, spec = (pages / "mixed.html").read_text(), read_spec(manifest)[0]
    found = clauses(spec, manifest)
    assert len(found) == len(re.findall(r"^#{2,4} (?:Annex )?[0-9A-Z]", spec, re.MULTILINE)) > 150
    requirements = {r for c in found for r in c.requirements}
    assert requirements == set(re.findall(r"\[(R[0-9.]+-\d+)\]", spec))
    assert all(f'id="c-{c.number}"' in text for c in found)
    assert all(f'id="r-{r}"' in text for r in requirements)


def test_coverage_colours_the_clauses(manifest):
    spec = "## 1 A\n\n### 1.1 B\n\n- [R1.1-1] shall (ORDER)\n\n### 1.2 C\n\n### 1.3 D\n\n### 1.4 E\n"
    coverage = {
        "streams": ["smoke"], "waived": {"range:1.3:high": "too large"}, "points": {
            "branch:1.1:x:0": [0], "branch:1.1:x:1": [], "range:1.2.7:low": [0], "range:1.3:high": [],
            "value:1.4:y": []
        }, "groups": {"context:1.2:sig": [3, 3, [0], []]}
    }
    found = {c.number: c for c in clauses(spec, manifest, coverage)}
    assert [found[n].coverage
            for n in ("1", "1.1", "1.2", "1.3", "1.4")] == ["none", "partly", "covered", "none", "open"]
    assert found["1.1"].open == ["branch:1.1:x:1"]
    assert found["1.2"].points == 4
    assert found["1.2"].streams == ["smoke"]
    assert found["1.3"].waived == coverage["waived"]


def test_badges(manifest):
    for failures, colour, words in (({}, "#1a7f37", f"{len(manifest.streams)} of"), ({BROKEN: (Verdict.CRASH, "")},
                                                                                     "#b42318", " PASS")):
        picture = badge(a_report(manifest, "x", failures).data())
        ElementTree.fromstring(picture)
        assert colour in picture
        assert words in picture


# In a browser

@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS, timeout=60_000)
        except sync_api.Error as error:
            pytest.skip(f"Chromium does not start here: {error}")
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, pages):
    """Opens a page and gives it; afterwards nothing but that file was asked for, and the console is empty."""
    requests, complaints, contexts = [], [], []

    def open_page(name: str, fragment: str = "", **options):
        context = browser.new_context(**options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        tab.goto((pages / f"{name}.html").as_uri() + fragment)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert {url.split("#")[0] for url in requests} <= {path.as_uri() for path in pages.iterdir()}
    assert not complaints


def shown(tab) -> int:
    """Rows of the streams' table that are seen; the page's own count must be the same."""
    count = tab.locator("#table tbody tr:visible").count()
    assert tab.locator("#shown").inner_text().startswith(f"{count} of ")
    return count


def test_filters(visit, manifest):
    tab = visit("mixed")
    everything = len(manifest.streams)
    assert shown(tab) == everything
    assert "bad 1.0" in tab.locator("#runs").inner_text()
    tab.select_option("[name=kind]", "invalid")
    assert shown(tab) == sum(s.kind == "invalid" for s in manifest.streams)
    tab.select_option("[name=verdict]", "WRONG-ACCEPT")
    assert shown(tab) == 1
    assert tab.locator(f"#s-{REJECTED}").is_visible()
    tab.click("button[type=reset]")
    tab.locator("#shown").get_by_text(f"{everything} of ").wait_for()
    tab.select_option("[name=profile]", "high")
    assert shown(tab) == sum(s.profile == "high" for s in manifest.streams)
    tab.select_option("[name=profile]", "")
    tab.select_option("[name=feature]", "element_type=float16")
    assert shown(tab) == sum("element_type=float16" in s.features for s in manifest.streams) > 0
    tab.select_option("[name=feature]", "")
    tab.fill("[name=q]", "smoke")
    assert 1 <= shown(tab) < 10


def test_links_lead_to_streams_clauses_and_failures(visit, manifest):
    tab = visit("mixed")
    tab.click("#c-7\\.2 .evidence a")
    broken = [s.id for s in manifest.streams if any(r.startswith("R7.2-") for r in s.requirements)]
    assert len(manifest.streams) > shown(tab) >= len(broken) > 10                  # others show it without breaking it
    assert all(tab.locator(f"#s-{name}").is_visible() for name in broken)
    tab.click(f"#s-{REJECTED} summary")
    tab.click(f"#s-{REJECTED} .chip:text('[R7.2-1]')")
    assert tab.url.endswith("#r-R7.2-1")
    assert tab.locator("#r-R7\\.2-1").is_visible()
    tab.click(f"#c-7\\.2 .chip:text-is('{REJECTED}')")
    assert tab.locator(f"#s-{REJECTED} details").get_attribute("open") is not None
    tab.click(f"#s-{REJECTED} td.fail a")
    failure = tab.locator(f"#f-B-{REJECTED}")
    assert failure.locator(".difference").inner_text() == HOSTILE                   # as text, not as a script
    assert f"--only {REJECTED}" in failure.locator("pre").first.inner_text()
    failure.locator(".trace a").first.click()
    assert re.search(r"#c-6\.\d", tab.url)
    assert tab.locator("#c-7\\.2.fail").count() == 1
    assert tab.locator("#c-7\\.3.fail").count() == 0


def test_a_link_to_a_hidden_stream_shows_it(visit):
    tab = visit("mixed", "#streams?kind=limit")
    assert shown(tab) > 0
    assert not tab.locator("#s-smoke").is_visible()
    tab.evaluate("location.hash = '#s-smoke'")
    tab.wait_for_selector("#s-smoke details[open]", state="visible")


def test_matrix_and_squares_lead_to_their_streams(visit, manifest):
    tab = visit("pass")
    tab.click("#matrix a:text-is('bfloat16')")
    assert shown(tab) == sum("element_type=bfloat16" in s.features for s in manifest.streams) > 0
    tab.click(".heat td a >> nth=0")
    assert shown(tab) > 0
    assert "None" in tab.locator("#failures").inner_text()
    assert tab.locator(".failure").count() == 0


def test_a_suspect_leads_to_its_streams(visit, manifest):
    tab = visit("guilty")
    tab.click(f".suspects tbody tr:first-child a:text-is('{GUILTY}')")
    assert shown(tab) == sum(GUILTY in s.features for s in manifest.streams) > 0


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1366, "light")])
def test_it_fits_the_screen(visit, width, scheme):
    tab = visit("mixed", viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    ground = [int(n) for n in re.findall(r"\d+", tab.evaluate("getComputedStyle(document.body).backgroundColor"))]
    assert (sum(ground) > 384) == (scheme == "light")


def test_the_page_can_be_read_without_scripts(visit, manifest):
    tab = visit("pass", java_script_enabled=False)
    assert tab.locator("#table tbody tr").count() == len(manifest.streams)


def test_runs_of_other_decoders_join_from_their_json(manifest, pages):
    other = json.loads(a_report(manifest, "other", {}).json())
    other["manifest_sha256"] = "0" * 64
    assert "Another manifest" in page([a_report(manifest, "x", {}).data(), other], manifest)
    assert "Another manifest" not in (pages / "mixed.html").read_text()
