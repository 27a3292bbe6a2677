# SPDX-License-Identifier: MIT OR Apache-2.0
"""The report of a run as JUnit XML."""
import xml.etree.ElementTree as ElementTree

SUITE = "aero-virtio-win7"


def add_case(suite, group, name, verdict, text, seconds=None):
    """verdict: PASS, INFO, SKIP, FAIL, or ERROR for what never came to a verdict."""
    case = ElementTree.SubElement(suite, "testcase", classname=f"{SUITE}.{group}", name=name)
    if seconds is not None:
        case.set("time", f"{seconds:.3f}")
    element = {"SKIP": "skipped", "FAIL": "failure", "ERROR": "error"}.get(verdict)
    if element:
        ElementTree.SubElement(case, element, message=text)
    else:
        ElementTree.SubElement(case, "system-out").text = text


def write(path, outcome, judge, checks, seconds):
    """outcome: (verdict, text) of the run as a whole."""
    suite = ElementTree.Element("testsuite", name=SUITE, time=f"{seconds:.3f}")
    add_case(suite, "host", "run", *outcome, seconds)
    for name, marker in judge.tests.items():
        add_case(suite, "guest", name, "ERROR" if marker.verdict == "READY" else marker.verdict, marker.text)
    for check in checks:
        add_case(suite, "host", check.name, check.verdict, check.text)
    for number, text in enumerate(judge.malformed, 1):
        add_case(suite, "guest", f"malformed-{number}", "FAIL", text)
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for attribute, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(element) is not None for case in cases)))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
