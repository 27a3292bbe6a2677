#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Which of libiscsi's conformance tests the disk is not put to, by their names, and the standard's reason for each."""
import fnmatch
import typing


class Skip(typing.NamedTuple):
    """Tests that are skipped for one reason: patterns of their names, in words of the tool's own what it misses, why."""
    tests: str
    says: str
    reason: str
    source: str

    @property
    def patterns(self):
        return self.tests.split()


OPTIONAL = "the command is optional, and Windows 7 does not send it"

SKIPS = [
    Skip("CompareAndWrite.[!I]*", "COMPAREANDWRITE is not implemented", OPTIONAL, "SBC-3 5.1, 5.2"),
    Skip("ExtendedCopy.[!D]* ExtendedCopy.DescrType", "EXTENDEDCOPY is not implemented", OPTIONAL, "SPC-4 6.1, 6.4"),
    Skip("ExtendedCopy.DescrLimits ReceiveCopyResults.*", "COPY_?RESULTS? is not implemented", OPTIONAL, "SPC-4 6.1"),
    Skip("GetLBAStatus.*", "GETLBASTATUS is not implemented", OPTIONAL, "SBC-3 5.1, 5.4"),
    Skip("OrWrite.*", "ORWRITE is not implemented", OPTIONAL, "SBC-3 5.1, 5.5"),
    Skip("Prefetch10.*", "PREFETCH10 is not implemented", OPTIONAL, "SBC-3 5.1, 5.8"),
    Skip("Prefetch16.*", "PREFETCH16 is not implemented", OPTIONAL, "SBC-3 5.1, 5.9"),
    Skip("ReadDefectData10.*", "READDEFECTDATA10 is not implemented", OPTIONAL, "SBC-3 5.1, 5.17"),
    Skip("ReadDefectData12.*", "READDEFECTDATA12 is not implemented", OPTIONAL, "SBC-3 5.1, 5.18"),
    Skip("WriteAtomic16.*", "WRITEATOMIC16 is not implemented", "the command is newer than SBC-3, and optional", "SBC-4"),
    Skip("WriteSame10.[!UI]* WriteSame10.UnmapVPD", "WRITESAME10 is not implemented",
         "the command is optional; WRITE SAME(16) is there, where the device can write zeroes", "SBC-3 5.1, 5.43"),
    Skip("WriteSame10.Unmap WriteSame10.UnmapUn* WriteSame10.InvalidDataOutSize WriteSame16.InvalidDataOutSize",
         "does not have LBPWS10", "LBPWS10 is 0: the disk does not unmap by WRITE SAME(10)", "SBC-3 6.6.4"),
    Skip("Sanitize.*", "--allow-sanitize flag is not set",
         "the command is optional; the tool wants to be told before it sends it", "SBC-3 5.1, 5.24"),
    Skip("PrinReadKeys.Simple PrinServiceactionRange.*", "PERSISTENT RESERVE IN is not implemented", OPTIONAL, "SPC-4 6.1"),
    Skip("PrinReadKeys.Truncate PrinReportCapabilities.* Prout*.Simple", "PROUT Not Supported", OPTIONAL, "SPC-4 6.1"),
    Skip("ProutReserve.[!S]* ProutPreempt.*", "only supported for iSCSI backends", "two initiators are needed, and " + OPTIONAL,
         "SPC-4 6.1"),
    Skip("Reserve6.Simple", "RESERVE6 is not implemented", "the command belongs to SPC-2 and is none of SPC-4", "SPC-4 6.1"),
    Skip("Reserve6.[!S]*", "only supported for iSCSI backends", "two initiators are needed, for a command of SPC-2", "SPC-4 6.1"),
    Skip("ReportSupportedOpcodes.OneCommand", "REPORT_SUPPORTED_OPCODES is not implemented",
         "it begins with a request that must be refused, and takes the refusal for a missing command; the test of "
         "sg_opcodes does its work", "SPC-4 6.35"),
    Skip("PreventAllow.*", "not removable", "RMB is 0: the medium stays in", "SPC-4 6.6.2"),
    Skip("StartStopUnit.Simple", "not removable", "RMB is 0: the medium stays in", "SPC-4 6.6.2"),
    Skip("ReadOnly.*", "not write-protected", "WP is 0; a disk that is read-only is tried in a test of its own", "SBC-3 6.5.1"),
    Skip("MultipathIO.*", "Multipath unavailable", "the disk has one port", "SPC-4 7.8.6"),
    Skip("CompareAndWrite.InvalidDataOutSize", "only supported for iSCSI backends",
         "a fault of the iSCSI transport, which SG_IO cannot make, with " + OPTIONAL, "RFC 7143 11.4.5"),
    Skip("iSCSIResiduals.*", "only supported for iSCSI backends",
         "the iSCSI transport's own count of data that do not fit their command", "RFC 7143 11.4.5"),
    Skip("iSCSIcmdsn.*", "only supported for iSCSI backends", "numbers of iSCSI's commands", "RFC 7143 4.2.2.1"),
    Skip("iSCSIdatasn.*", "only supported for iSCSI backends", "numbers of iSCSI's data", "RFC 7143 4.2.2.4"),
]

# The tool says that these pass, and sends nothing: they need a session of iSCSI.
EMPTY = ["iSCSITMF.AbortTaskSimpleAsync", "iSCSITMF.LUNResetSimpleAsync"]


def reasons(name):
    """The rows of the table that name a test: one, or none."""
    return [skip for skip in SKIPS if any(fnmatch.fnmatchcase(name, pattern) for pattern in skip.patterns)]


def markdown():
    lines = [
        "<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->",
        "<!-- Made by `make docs` from tests/iscsi_skips.py; do not edit. -->",
        "# libiscsi's conformance tests",
        "",
        "`iscsi-test-cu --test=ALL --dataloss`, as Debian has it, runs unmodified against each shipped driver through",
        "`storhost sg`. The families SCSI and LINUX are parts of ALL. No test may fail, and those that are skipped are",
        "exactly these, for these reasons: `tests/test_iscsi_test_cu.py` holds the tool's own words against this table.",
        "",
        "| Tests | What the tool says | The reason | Source |",
        "|---|---|---|---|",
    ]
    for skip in SKIPS:
        names = ", ".join(f"`{pattern}`" for pattern in skip.patterns)
        lines.append(f"| {names} | {skip.says.replace('_?', '_').replace('S?', 'S')} | {skip.reason} | {skip.source} |")
    lines += ["", "The tool says that " + " and ".join(f"`{name}`" for name in EMPTY) + " pass; they send nothing without",
              "a session of iSCSI.", "",
              "The disk has the limits that Windows 7 and the device set; a disk whose device cannot discard or write zeroes",
              "skips what needs that, too: it does not claim it."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
